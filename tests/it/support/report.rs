//! The rows of the table in `docs/reliability.md`, as the scenarios write them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

/// What one scenario came to.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) scenario: &'a str,
    pub(crate) backends: &'a str,
    /// Events sent, repeats included.
    pub(crate) attempted: usize,
    /// Of these, those that the queue or the edge has confirmed.
    pub(crate) accepted: usize,
    pub(crate) lost: usize,
    /// Effects that happened twice.
    pub(crate) duplicated: usize,
    pub(crate) duration: Duration,
}

/// Appends the row to the file that `HOSTMATCH_RELIABILITY_REPORT` names, if it names one. Tests
/// that run at the same time may do so at the same time: it is one short write at the end.
pub(crate) fn write(row: &Row<'_>) {
    let Some(path) = std::env::var_os("HOSTMATCH_RELIABILITY_REPORT") else { return };
    let Row { scenario, backends, attempted, accepted, lost, duplicated, duration } = row;
    let seconds = duration.as_secs_f64();
    let line = format!(
        "| {scenario} | {backends} | {attempted} | {accepted} | {lost} | {duplicated} | {seconds:.1} s |\n"
    );
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}
