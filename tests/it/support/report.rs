//! The rows that the scenarios write for the table in `docs/reliability.md`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

/// The result of one scenario.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) scenario: &'a str,
    pub(crate) backends: &'a str,
    /// Events sent, repeats included.
    pub(crate) attempted: usize,
    /// Of these, the events that the queue or the edge confirmed.
    pub(crate) accepted: usize,
    pub(crate) lost: usize,
    /// Effects that happened twice; `None` in a scenario in which no event is decided.
    pub(crate) duplicated: Option<usize>,
    pub(crate) duration: Duration,
    /// What else was measured, each value with its bound.
    pub(crate) measured: &'a [String],
}

/// Appends the row to the file named by `HOSTMATCH_RELIABILITY_REPORT`, if set. Tests that run at the same
/// time may append at the same time: each does one short write.
pub(crate) fn write(row: &Row<'_>) {
    let Some(path) = std::env::var_os("HOSTMATCH_RELIABILITY_REPORT") else { return };
    let Row { scenario, backends, attempted, accepted, lost, duplicated, duration, measured } = row;
    let duplicated = duplicated.map_or_else(|| "–".to_owned(), |count| count.to_string());
    let seconds = duration.as_secs_f64();
    let measured = measured.join("; ");
    let line = format!(
        "| {scenario} | {backends} | {attempted} | {accepted} | {lost} | {duplicated} | {seconds:.1} s | {measured} |\n"
    );
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}
