//! Results on stdout: a table for people, JSON for programs. Everything else goes to stderr.
//!
//! What writes to stdout fails when that cannot be written; this is not repeated at each function.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{Exit, Failure};
pub(super) use crate::runtime::clock::rfc3339 as moment;

/// What results look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// One JSON document, for programs.
    Json,
}

/// Writes one line of text to stdout, or several. What a terminal would obey is shown instead.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout().lock(), "{}", visible(text))?)
}

/// Control characters and those that turn the direction of writing, as escapes: texts of senders
/// must not be able to command the terminal. Line breaks stay.
fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.escape_unicode().to_string())
}

fn escaped(text: &str, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    let commands = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(commands) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if commands(c) { escape(c) } else { c.to_string() }).collect())
}

/// Writes `value` to stdout as one JSON document.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    // serde_json escapes only the older half of the control characters.
    let text = serde_json::to_string_pretty(value)?;
    line(&escaped(&text, |c| format!("\\u{:04x}", u32::from(c))))
}

/// Writes `value` to stdout as JSON on one line.
pub(super) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)?;
    line(&escaped(&text, |c| format!("\\u{:04x}", u32::from(c))))
}

/// Writes a table to stdout, without borders: easy to read, and to cut. `head` may be empty.
pub(super) fn table<R>(head: &[&str], rows: impl IntoIterator<Item = R>) -> Result<(), Failure>
where
    R: IntoIterator<Item = String>,
{
    line(borderless(head, rows).trim_fmt().as_str())
}

/// Writes a table no wider than `width` columns to stdout; what is longer goes on below.
pub(super) fn table_within<R>(
    width: u16,
    head: &[&str],
    rows: impl IntoIterator<Item = R>,
) -> Result<(), Failure>
where
    R: IntoIterator<Item = String>,
{
    let mut table = borderless(head, rows);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    line(table.trim_fmt().as_str())
}

fn borderless<R>(head: &[&str], rows: impl IntoIterator<Item = R>) -> Table
where
    R: IntoIterator<Item = String>,
{
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !head.is_empty() {
        table.set_header(head.iter().copied());
    }
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Says how to see older rows, where there are some.
pub(super) fn older(next_before: Option<i64>) -> Result<(), Failure> {
    next_before.map_or(Ok(()), |next| line(&format!("There are older ones: --before {next}")))
}

/// A cell for what may be missing.
pub(super) fn dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

/// A progress bar on stderr for `steps` steps; hidden where stderr is no terminal.
pub(super) fn progress(steps: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64).with_message(what);
    // The template is a constant; the plain bar is good enough should it ever be wrong.
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} ({per_sec}, {eta} left)");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A progress bar as a use case tells how far it is; to be cleared when that has ended.
pub(super) fn progress_of(what: &'static str) -> (ProgressBar, impl Fn(usize, usize) + Sync) {
    let bar = progress(0, what);
    let shown = bar.clone();
    (bar, move |done, of| {
        shown.set_length(of as u64);
        shown.set_position(done as u64);
    })
}

/// Asks a yes-or-no question on the terminal. `None` when there is none to ask on. Fails when the terminal
/// cannot be read.
pub(super) fn confirm(question: &str) -> Result<Option<bool>, Failure> {
    let answer = ask(&format!("{question} [y/N]"))?;
    Ok(answer.map(|answer| matches!(answer.as_str(), "y" | "yes")))
}

/// Whether `yes` was given, or is the answer to a question on the terminal. Fails with
/// [`Exit::NeedsConfirmation`] with the question and what else can be done (`or`), when there is nobody to
/// ask.
pub(super) fn confirmed(yes: bool, question: &str, or: &str) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    confirm(question)?
        .ok_or_else(|| Failure::new(Exit::NeedsConfirmation, format!("{question} Say so with --yes{or}")))
}

/// Asks a question on the terminal, and gives the answer in small letters. `None` when there is none to ask
/// on. Fails when the terminal cannot be read.
pub(super) fn ask(question: &str) -> Result<Option<String>, Failure> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Ok(None);
    }
    write!(std::io::stderr().lock(), "{} ", visible(question))?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(Some(answer.trim().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        assert_eq!(visible("Zoë\n\u{1b}[2J\u{9b}\u{202e}"), "Zoë\n\\u{1b}[2J\\u{9b}\\u{202e}");
        assert_eq!(visible("plain"), "plain");
    }
}
