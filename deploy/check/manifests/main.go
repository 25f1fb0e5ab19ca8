// manifests FILE...: reads each document into Kubernetes' own types, strictly: an unknown field, a
// field twice or a value of another type is an error. Then what the types can't say: that names fit
// together.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	network "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"deploycheck/container"
)

var kinds = map[string]func() any{
	"v1/ConfigMap":                            func() any { return &core.ConfigMap{} },
	"v1/Service":                              func() any { return &core.Service{} },
	"v1/ServiceAccount":                       func() any { return &core.ServiceAccount{} },
	"apps/v1/StatefulSet":                     func() any { return &apps.StatefulSet{} },
	"policy/v1/PodDisruptionBudget":           func() any { return &policy.PodDisruptionBudget{} },
	"networking.k8s.io/v1/NetworkPolicy":      func() any { return &network.NetworkPolicy{} },
	"monitoring.coreos.com/v1/ServiceMonitor": func() any { return &monitoring.ServiceMonitor{} },
	"monitoring.coreos.com/v1/PrometheusRule": func() any { return &monitoring.PrometheusRule{} },
}

func main() {
	var objects []any
	for _, path := range os.Args[1:] {
		found, err := read(path)
		if err != nil {
			fail(fmt.Errorf("%s: %w", path, err))
		}
		objects = append(objects, found...)
	}
	if err := fitTogether(objects); err != nil {
		fail(err)
	}
	containers, err := run(objects)
	if err == nil {
		err = container.Write(containers)
	}
	if err != nil {
		fail(err)
	}
	fmt.Println("ok:", len(objects), "manifests")
}

// run says what the first pod runs: what the cluster fills in is made up here.
func run(objects []any) ([]container.Container, error) {
	fields := map[string]string{"status.podIP": "192.0.2.1", "metadata.name": "fts-node-0"}
	var found []container.Container
	maps := map[string]*core.ConfigMap{}
	for _, object := range objects {
		if it, is := object.(*core.ConfigMap); is {
			maps[it.Name] = it
		}
	}
	for _, object := range objects {
		set, is := object.(*apps.StatefulSet)
		if !is {
			continue
		}
		volumes := map[string]*core.ConfigMap{}
		for _, volume := range set.Spec.Template.Spec.Volumes {
			if volume.ConfigMap != nil {
				volumes[volume.Name] = maps[volume.ConfigMap.Name]
			}
		}
		for _, pod := range set.Spec.Template.Spec.Containers {
			it := container.Container{Name: pod.Name, Command: pod.Args, Environment: map[string]string{}, Files: map[string]string{}}
			for _, variable := range pod.Env {
				value := variable.Value
				if from := variable.ValueFrom; from != nil {
					if from.FieldRef == nil || fields[from.FieldRef.FieldPath] == "" {
						return nil, fmt.Errorf("where %s comes from is not known here: add it", variable.Name)
					}
					value = fields[from.FieldRef.FieldPath]
				}
				// As Kubernetes does: of those that stand before it.
				for name, known := range it.Environment {
					value = strings.ReplaceAll(value, "$("+name+")", known)
				}
				if strings.Contains(value, "$(") {
					return nil, fmt.Errorf("%s is %q: that variable does not stand before it", variable.Name, value)
				}
				it.Environment[variable.Name] = value
			}
			for _, mount := range pod.VolumeMounts {
				if volumes[mount.Name] == nil {
					continue
				}
				for name, text := range volumes[mount.Name].Data {
					if mount.SubPath == "" {
						it.Files[path.Join(mount.MountPath, name)] = text
					} else if mount.SubPath == name {
						it.Files[mount.MountPath] = text
					}
				}
			}
			found = append(found, it)
		}
	}
	return found, nil
}

func read(path string) ([]any, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var objects []any
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		var head meta.TypeMeta
		if err := yaml.Unmarshal(document, &head); err != nil {
			return nil, err
		}
		if head.Kind == "" {
			continue
		}
		make, known := kinds[head.APIVersion+"/"+head.Kind]
		if !known {
			return nil, fmt.Errorf("%s of %s has no type here: add it", head.Kind, head.APIVersion)
		}
		object := make()
		if err := yaml.UnmarshalStrict(document, object); err != nil {
			return nil, fmt.Errorf("%s: %w", head.Kind, err)
		}
		objects = append(objects, object)
	}
}

// fitTogether says what no single document can be wrong about.
func fitTogether(objects []any) error {
	var sets []*apps.StatefulSet
	services, ports := map[string]*core.Service{}, map[string]bool{}
	maps := map[string]bool{}
	for _, object := range objects {
		switch it := object.(type) {
		case *apps.StatefulSet:
			sets = append(sets, it)
		case *core.Service:
			services[it.Name] = it
			for _, port := range it.Spec.Ports {
				ports[port.Name] = true
			}
		case *core.ConfigMap:
			maps[it.Name] = true
		}
	}
	if len(sets) != 1 {
		return fmt.Errorf("%d StatefulSets: one is expected", len(sets))
	}
	set := sets[0]
	pod := labels.Set(set.Spec.Template.Labels)
	selects := func(what string, selector *meta.LabelSelector) error {
		chosen, err := meta.LabelSelectorAsSelector(selector)
		if err == nil && !chosen.Matches(pod) {
			err = errors.New("does not select the StatefulSet's pods")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	if services[set.Spec.ServiceName] == nil {
		return fmt.Errorf("the StatefulSet's service %q is not there", set.Spec.ServiceName)
	}
	if err := selects("StatefulSet", set.Spec.Selector); err != nil {
		return err
	}
	named := map[string]bool{}
	for _, container := range set.Spec.Template.Spec.Containers {
		for _, port := range container.Ports {
			named[port.Name] = true
		}
		if container.LivenessProbe == nil || container.ReadinessProbe == nil || container.StartupProbe == nil {
			return fmt.Errorf("container %s lacks a probe", container.Name)
		}
		if container.Resources.Limits.Memory().IsZero() || container.Resources.Requests.Cpu().IsZero() {
			return fmt.Errorf("container %s lacks requests or limits", container.Name)
		}
		for _, probe := range []*core.Probe{container.LivenessProbe, container.ReadinessProbe, container.StartupProbe} {
			if probe.HTTPGet == nil || !named[probe.HTTPGet.Port.String()] {
				return fmt.Errorf("container %s: a probe asks a port that it does not name", container.Name)
			}
		}
	}
	for _, volume := range set.Spec.Template.Spec.Volumes {
		if volume.ConfigMap == nil || (volume.ConfigMap.Optional != nil && *volume.ConfigMap.Optional) {
			continue
		}
		if !maps[volume.ConfigMap.Name] {
			return fmt.Errorf("the ConfigMap %q is not there", volume.ConfigMap.Name)
		}
	}
	for _, object := range objects {
		switch it := object.(type) {
		case *core.Service:
			if err := selects("Service "+it.Name, &meta.LabelSelector{MatchLabels: it.Spec.Selector}); err != nil {
				return err
			}
			for _, port := range it.Spec.Ports {
				if !named[port.TargetPort.String()] {
					return fmt.Errorf("Service %s leads to port %s, which no container names", it.Name, port.TargetPort.String())
				}
			}
		case *policy.PodDisruptionBudget:
			if err := selects("PodDisruptionBudget", it.Spec.Selector); err != nil {
				return err
			}
		case *network.NetworkPolicy:
			if err := selects("NetworkPolicy", &it.Spec.PodSelector); err != nil {
				return err
			}
		case *monitoring.ServiceMonitor:
			chosen, err := meta.LabelSelectorAsSelector(&it.Spec.Selector)
			if err != nil {
				return err
			}
			watched := 0
			for _, service := range services {
				if chosen.Matches(labels.Set(service.Labels)) {
					watched++
				}
			}
			if watched != 1 {
				return fmt.Errorf("the ServiceMonitor chooses %d services: one is expected", watched)
			}
			for _, endpoint := range it.Spec.Endpoints {
				if !ports[endpoint.Port] {
					return fmt.Errorf("the ServiceMonitor asks port %q, which no service names", endpoint.Port)
				}
			}
		}
	}
	return nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
