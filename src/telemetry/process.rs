//! Metrics of the process, under the usual names of Prometheus client libraries. They are read from `/proc`
//! on Linux; on other systems there are none.

use super::metrics::{Kind, Series, float};

/// The series, in the order of the output.
pub const SERIES: [Series; 6] = [
    Series::new(
        "process_cpu_seconds_total",
        Kind::Counter,
        "Processor time of this process, user and system, in seconds",
    ),
    Series::new("process_resident_memory_bytes", Kind::Gauge, "Memory of this process that is in RAM"),
    Series::new("process_virtual_memory_bytes", Kind::Gauge, "Address space of this process"),
    Series::new("process_start_time_seconds", Kind::Gauge, "Start of this process, in seconds since 1970"),
    Series::new("process_open_fds", Kind::Gauge, "Files and sockets that this process has open"),
    Series::new("process_max_fds", Kind::Gauge, "Files and sockets that this process may have open"),
];

/// Returns all series as text; an empty string if they cannot be read.
pub(super) fn render() -> String {
    let line = |(series, value): (&Series, f64)| {
        let (name, kind) = (series.name, series.kind.as_str());
        format!("# HELP {name} {}\n# TYPE {name} {kind}\n{name} {value}\n", series.help)
    };
    read_values().map(|values| SERIES.iter().zip(values).map(line).collect()).unwrap_or_default()
}

#[cfg(target_os = "linux")]
fn read_values() -> Option<[f64; SERIES.len()]> {
    use procfs::WithCurrentSystemInfo as _;
    use procfs::process::{LimitValue, Process};

    let me = Process::myself().ok()?;
    let stat = me.stat().ok()?;
    let ticks = float(procfs::ticks_per_second());
    let fds = u64::try_from(me.fd_count().ok()?).ok()?;
    let max_fds = match me.limits().ok()?.max_open_files.soft_limit {
        LimitValue::Value(limit) => float(limit),
        LimitValue::Unlimited => f64::INFINITY,
    };
    let boot = float(procfs::boot_time_secs().ok()?);
    Some([
        float(stat.utime + stat.stime) / ticks,
        float(stat.rss_bytes().get()),
        float(stat.vsize),
        boot + float(stat.starttime) / ticks,
        float(fds),
        max_fds,
    ])
}

#[cfg(not(target_os = "linux"))]
fn read_values() -> Option<[f64; SERIES.len()]> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_values_describe_this_process() {
        let [cpu, resident_bytes, virtual_bytes, start, open, max_open] = read_values().unwrap();
        assert!(cpu >= 0.0 && (1e5..1e12).contains(&resident_bytes) && virtual_bytes >= resident_bytes);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - 3600.0..=now + 60.0).contains(&start), "{start} is not shortly before {now}");
        assert!(open >= 3.0 && max_open >= open);
    }
}
