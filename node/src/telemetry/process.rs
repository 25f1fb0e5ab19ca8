//! What the process costs, as the kernel tells: CPU, memory, files, bytes on disks. Named as in
//! Prometheus' own libraries, and read when it is asked for. Where there is no `/proc`, nothing is told.

use std::fmt::Write as _;
use std::fs;

use fts_core::metrics::{
    ALL, DISK_BYTES_TOTAL, Kind, PROCESS_CPU_SECONDS_TOTAL, PROCESS_MAX_FDS, PROCESS_OPEN_FDS,
    PROCESS_RESIDENT_MEMORY_BYTES, PROCESS_START_TIME_SECONDS, PROCESS_THREADS,
    PROCESS_VIRTUAL_MEMORY_BYTES,
};

/// The kernel's ticks a second, as it tells them to programs: the same on all its usual machines.
const TICKS: f64 = 100.0;

/// A value, its metric and its label.
type Sample = (&'static str, Option<(&'static str, &'static str)>, f64);

/// Adds it to the other metrics.
pub(super) fn render(text: &mut String) {
    let files = Files {
        stat: fs::read_to_string("/proc/self/stat").unwrap_or_default(),
        status: fs::read_to_string("/proc/self/status").unwrap_or_default(),
        limits: fs::read_to_string("/proc/self/limits").unwrap_or_default(),
        io: fs::read_to_string("/proc/self/io").unwrap_or_default(),
        machine: fs::read_to_string("/proc/stat").unwrap_or_default(),
        // One of them is this look into the folder.
        open: fs::read_dir("/proc/self/fd").ok().map(|it| it.count().saturating_sub(1)),
    };
    write(text, &files.samples());
}

/// What the kernel says.
#[derive(Debug, Default)]
struct Files {
    stat: String,
    status: String,
    limits: String,
    io: String,
    /// Of the whole machine.
    machine: String,
    open: Option<usize>,
}

impl Files {
    /// All that can be read from them.
    fn samples(&self) -> Vec<Sample> {
        // The program's name, in parentheses, may hold spaces; behind it comes field 3.
        let fields: Vec<f64> = self.stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| {
            rest.split_whitespace().map(|it| it.parse().unwrap_or(0.0)).collect()
        });
        let field = |number: usize| fields.get(number.checked_sub(3)?).copied();
        let cpu = field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS);
        let started = line(&self.machine, "btime ")
            .zip(field(22))
            .map(|(booted, ticks)| booted + ticks / TICKS);
        let bytes = |name: &str| line(&self.status, name).map(|kib| kib * 1_024.0);
        let open = self.open.and_then(|it| u32::try_from(it).ok()).map(f64::from);
        let disk = |direction, name: &str| {
            (DISK_BYTES_TOTAL, Some(("direction", direction)), line(&self.io, name))
        };
        let all = [
            (PROCESS_CPU_SECONDS_TOTAL, None, cpu),
            (PROCESS_RESIDENT_MEMORY_BYTES, None, bytes("VmRSS:")),
            (PROCESS_VIRTUAL_MEMORY_BYTES, None, bytes("VmSize:")),
            (PROCESS_OPEN_FDS, None, open),
            (PROCESS_MAX_FDS, None, line(&self.limits, "Max open files")),
            (PROCESS_THREADS, None, line(&self.status, "Threads:")),
            (PROCESS_START_TIME_SECONDS, None, started),
            disk("read", "read_bytes:"),
            disk("written", "write_bytes:"),
        ];
        all.into_iter().filter_map(|(name, label, value)| Some((name, label, value?))).collect()
    }
}

/// The number that follows where a line begins so.
fn line(text: &str, begin: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(begin))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// As Prometheus reads it. Samples of one metric stand together.
fn write(text: &mut String, samples: &[Sample]) {
    let mut before = "";
    for (name, label, value) in samples {
        if *name != before
            && let Some(metric) = ALL.iter().find(|it| it.name == *name)
        {
            let kind = if metric.kind == Kind::Counter { "counter" } else { "gauge" };
            // A String takes all that is written to it.
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", metric.help);
        }
        before = name;
        let label = label.map_or_else(String::new, |(key, it)| format!("{{{key}=\"{it}\"}}"));
        let _ = writeln!(text, "{name}{label} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_told_in_seconds_and_bytes() {
        let files = Files {
            stat: "7 (a (b) c) S 1 7 7 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 12 0 600 9 9".into(),
            status: "Name:\tx\nVmSize:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t12\n".into(),
            limits: "Max open files            1024                 4096                 files\n"
                .into(),
            io: "rchar: 9\nread_bytes: 4096\nwrite_bytes: 8192\n".into(),
            machine: "cpu 1 2 3\nbtime 1700000000\n".into(),
            open: Some(17),
        };
        let mut text = String::new();
        write(&mut text, &files.samples());
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "process_cpu_seconds_total 2",
                "process_resident_memory_bytes 1048576",
                "process_virtual_memory_bytes 2097152",
                "process_open_fds 17",
                "process_max_fds 1024",
                "process_threads 12",
                "process_start_time_seconds 1700000006",
                "fts_disk_bytes_total{direction=\"read\"} 4096",
                "fts_disk_bytes_total{direction=\"written\"} 8192",
            ]
        );
        assert!(text.contains("# TYPE process_cpu_seconds_total counter\n"));
        assert_eq!(text.matches("# TYPE fts_disk_bytes_total").count(), 1);
    }

    #[test]
    fn what_the_kernel_does_not_say_is_left_out() {
        let mut text = String::new();
        write(&mut text, &Files::default().samples());
        assert_eq!(text, "");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_costs_something() {
        let mut text = String::new();
        render(&mut text);
        for name in [PROCESS_RESIDENT_MEMORY_BYTES, PROCESS_OPEN_FDS, PROCESS_THREADS] {
            let value = line(&text, name);
            assert!(value.is_some_and(|it| it >= 1.0), "{name}: {value:?}");
        }
        let started = line(&text, PROCESS_START_TIME_SECONDS);
        assert!(started.is_some_and(|it| it > 1_600_000_000.0), "{started:?}");
    }
}
