//! Reads the CPU usage of other processes from `/proc`.

/// `/proc` counts in hundredths of a second, independent of the kernel's own clock.
const TICKS: f64 = 100.0;

/// Returns the process that listens on this port of this machine, if it is visible.
pub(crate) fn listening_on(port: u16) -> Option<u32> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let socket = tables.iter().flat_map(|table| table.lines()).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let here = local.rsplit_once(':').and_then(|(_, hex)| u16::from_str_radix(hex, 16).ok());
        (here == Some(port) && *state == "0A").then(|| format!("socket:[{inode}]"))
    })?;
    let has_it = |pid: &u32| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok();
        open.into_iter().flatten().flatten().any(|entry| {
            std::fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == socket.as_str())
        })
    };
    processes().filter(has_it).min()
}

/// Returns the CPU seconds that a process and its children, including ended ones, have used so far.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let children = processes().filter_map(Usage::of).filter(|usage| usage.parent == pid);
    let all: u64 = Usage::of(pid).into_iter().chain(children).map(|usage| usage.ticks).sum();
    all as f64 / TICKS
}

struct Usage {
    parent: u32,
    ticks: u64,
}

impl Usage {
    fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The process's name, before the last parenthesis, may contain anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
        Some(Self { parent: fields.get(1)?.parse().ok()?, ticks })
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
