// compose FILE...: reads compose files as `docker compose config` does, with every profile on, and
// asks of each service what this project promises of it.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"deploycheck/container"
)

func main() {
	options, err := cli.NewProjectOptions(os.Args[1:], cli.WithOsEnv, cli.WithEnvFiles(), cli.WithDotEnv,
		cli.WithInterpolation(true), cli.WithResolvedPaths(false), cli.WithProfiles([]string{"*"}))
	if err != nil {
		fail(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		fail(err)
	}
	var faults []string
	for _, name := range project.ServiceNames() {
		service := project.Services[name]
		for _, fault := range faultsOf(service) {
			faults = append(faults, name+": "+fault)
		}
	}
	if len(faults) > 0 {
		fail(fmt.Errorf("%s", strings.Join(faults, "\n")))
	}
	containers, err := own(project, filepath.Dir(os.Args[1]))
	if err == nil {
		err = container.Write(containers)
	}
	if err != nil {
		fail(err)
	}
	fmt.Println("ok:", project.Name, len(project.Services), "services")
}

// own are the services that run this project's own image.
func own(project *types.Project, folder string) ([]container.Container, error) {
	var found []container.Container
	for _, name := range project.ServiceNames() {
		service := project.Services[name]
		if !strings.HasPrefix(service.Image, "fts-node:") {
			continue
		}
		it := container.Container{Name: name, Command: service.Command, Environment: map[string]string{}, Files: map[string]string{}}
		for key, value := range service.Environment {
			if value != nil {
				it.Environment[key] = *value
			}
		}
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			text, err := os.ReadFile(filepath.Join(folder, volume.Source))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			it.Files[volume.Target] = string(text)
		}
		if test := service.HealthCheck.Test; len(test) > 1 && test[0] == "CMD" {
			it.Health = test[1:]
		}
		found = append(found, it)
	}
	return found, nil
}

// faultsOf says what a service lacks.
func faultsOf(service types.ServiceConfig) []string {
	var faults []string
	fault := func(format string, values ...any) { faults = append(faults, fmt.Sprintf(format, values...)) }
	tag := service.Image[strings.LastIndex(service.Image, ":")+1:]
	if tag == service.Image || tag == "latest" || !strings.ContainsAny(tag, "0123456789") {
		fault("image %q has no pinned version", service.Image)
	}
	for _, port := range service.Ports {
		if port.HostIP != "127.0.0.1" {
			fault("port %s is published on %q: 127.0.0.1 only", port.Published, port.HostIP)
		}
	}
	if len(service.Profiles) == 0 {
		fault("starts without a profile")
	}
	if service.MemLimit == 0 || service.CPUS == 0 || service.PidsLimit == 0 {
		fault("has no limit of memory, CPU or processes")
	}
	once := service.Restart == "no"
	if service.HealthCheck == nil && !once {
		fault("has no health check")
	}
	if service.Restart == "" {
		fault("says not whether it is started again")
	}
	for on, dependency := range service.DependsOn {
		if dependency.Condition == types.ServiceConditionStarted {
			fault("depends on %s being started, not on its being healthy", on)
		}
	}
	for key, value := range service.Environment {
		if secret(key) && value != nil && *value == "" {
			fault("%s is empty", key)
		}
	}
	return faults
}

func secret(key string) bool {
	return strings.Contains(key, "PASSWORD") || strings.Contains(key, "SECRET")
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
