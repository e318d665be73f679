//! Prints the figures of a drain as a table.

use crate::Result;
use crate::measurements::Figure;
use std::io::Write as _;

/// One row of the table.
pub(crate) struct TableRow<'a> {
    pub(crate) figure: &'a Figure,
    /// Events per second of the floors (a), (b) and (c) on the same engine.
    pub(crate) floors: [Option<f64>; 3],
}

/// Prints the header.
///
/// # Errors
/// Fails if stdout is closed.
pub(crate) fn print_header(events: u64) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{events} events in each drain; CPU in ms per 1,000 events; memory of the largest worker")?;
    writeln!(
        out,
        "{:<11}{:<33}{:>9}{:>6}{:>6}{:>6}{:>8}{:>10}{:>8}{:>8}",
        "database", "what", "events/s", "/a", "/b", "/c", "broker", "database", "worker", "MiB"
    )?;
    Ok(())
}

/// Prints one row.
///
/// # Errors
/// Fails if stdout is closed.
pub(crate) fn print_row(row: &TableRow<'_>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let Figure { engine, what, costs, publish_to_commit } = row.figure;
    write!(out, "{engine:<11}{what:<33}")?;
    if let Some(costs) = costs {
        let cpu = costs.cpu_per_1000;
        write!(out, "{:>9.0}", costs.per_second)?;
        for floor in row.floors {
            let ratio = floor.map(|floor| format!("{:.0}%", costs.per_second / floor * 100.0));
            write!(out, "{:>6}", ratio.unwrap_or_default())?;
        }
        write!(out, "{:>8.1}{:>10.1}{:>8.1}", cpu.broker * 1e3, cpu.database * 1e3, cpu.worker * 1e3)?;
        let memory = costs.peak_memory.map(|bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20)));
        write!(out, "{:>8}", memory.unwrap_or_default())?;
    }
    if let Some(took) = publish_to_commit {
        let (p50, p95, p99) = (took.p50_ms, took.p95_ms, took.p99_ms);
        write!(out, "publish to commit: p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms")?;
    }
    writeln!(out)?;
    Ok(out.flush()?)
}
