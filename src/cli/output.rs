//! Results on stdout: a table for people, JSON or CSV for programs. Everything else goes to stderr.
//!
//! What writes to stdout fails when that cannot be written; this is not repeated at each function.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Exit, Failure};
use crate::app::Progress;
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

impl Output {
    /// Writes `value` as JSON, or for people what `table` writes; then all is done.
    pub(super) fn show(
        self,
        value: &impl Serialize,
        table: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Exit, Failure> {
        match self {
            Self::Json => json(value)?,
            Self::Table => table()?,
        }
        Ok(Exit::Done)
    }

    /// The same of a list: for people `none` where it has no rows, else what `table` writes of them.
    pub(super) fn list<T>(
        self,
        value: &impl Serialize,
        rows: &[T],
        none: &str,
        table: impl FnOnce(&[T]) -> Result<(), Failure>,
    ) -> Result<Exit, Failure> {
        self.show(value, || if rows.is_empty() { line(none) } else { table(rows) })
    }
}

/// Writes one line of text to stdout, or several. What a terminal would obey is shown instead.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout().lock(), "{}", visible(text))?)
}

/// Writes what else there is to know to stderr.
pub(super) fn note(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stderr().lock(), "note: {text}")?)
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
    json_text(&serde_json::to_string_pretty(value)?)
}

/// Writes `value` to stdout as JSON on one line.
pub(super) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    json_text(&serde_json::to_string(value)?)
}

/// serde_json escapes only the older half of the control characters.
fn json_text(text: &str) -> Result<(), Failure> {
    line(&escaped(text, |c| format!("\\u{:04x}", u32::from(c))))
}

/// Writes a table to stdout, without borders: easy to read, and to cut. `head` may be empty.
pub(super) fn table(
    head: &[&str],
    rows: impl IntoIterator<Item: IntoIterator<Item = String>>,
) -> Result<(), Failure> {
    line(borderless(head, rows).trim_fmt().as_str())
}

/// Writes a table no wider than `width` columns to stdout; what is longer goes on below.
pub(super) fn table_within(
    width: u16,
    head: &[&str],
    rows: impl IntoIterator<Item: IntoIterator<Item = String>>,
) -> Result<(), Failure> {
    let mut table = borderless(head, rows);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    line(table.trim_fmt().as_str())
}

fn borderless(head: &[&str], rows: impl IntoIterator<Item: IntoIterator<Item = String>>) -> Table {
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

/// Writes names, each with what it is.
pub(super) fn pairs<K: Display>(rows: impl IntoIterator<Item = (K, String)>) -> Result<(), Failure> {
    table(&[], rows.into_iter().map(|(name, value)| [format!("  {name}"), value]))
}

/// What a list looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// One JSON object a line
    Ndjson,
    /// Comma-separated, with a head
    Csv,
}

impl Format {
    /// The form asked for, else the one of `--output`.
    pub(super) fn of(asked: Option<Self>, output: Output) -> Self {
        asked.unwrap_or(match output {
            Output::Table => Self::Table,
            Output::Json => Self::Json,
        })
    }

    /// It can be written row by row, however many there are.
    pub(super) fn is_endless(self) -> bool {
        matches!(self, Self::Ndjson | Self::Csv)
    }
}

/// Writes one line of JSON for each.
pub(super) fn ndjson<T: Serialize>(rows: &[T]) -> Result<(), Failure> {
    rows.iter().try_for_each(json_line)
}

/// Writes one line of CSV for each, with a head if it is the `first` time.
pub(super) fn csv<T: Serialize>(rows: &[T], first: bool) -> Result<(), Failure> {
    for (number, row) in rows.iter().enumerate() {
        let Value::Object(row) = serde_json::to_value(row)? else { continue };
        if first && number == 0 {
            let head: Vec<String> = row.keys().map(|name| cell(name)).collect();
            line(&head.join(","))?;
        }
        line(&csv_row(&row))?;
    }
    Ok(())
}

fn csv_row(row: &Map<String, Value>) -> String {
    let cells = row.values().map(|value| match value {
        Value::Null => String::new(),
        Value::String(text) => cell(text),
        other => cell(&other.to_string()),
    });
    cells.collect::<Vec<_>>().join(",")
}

/// As RFC 4180 has it. A spreadsheet takes what begins so for a formula: it is kept from that.
fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err() {
        "'"
    } else {
        ""
    };
    let text = format!("{guard}{}", text.replace('\n', " "));
    if text.contains([',', '"', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// Says how to see older rows, where there are some.
pub(super) fn older(next_before: Option<impl Display>) -> Result<(), Failure> {
    next_before.map_or(Ok(()), |next| line(&format!("There are older ones: --before {next}")))
}

/// A text on one line of at most so many characters.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let text = text.replace('\n', " ");
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most - 1).chain(['…']).collect()
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

/// Does `work` with a progress bar, which the work tells how much of how much is done.
pub(super) async fn with_progress<T>(what: &'static str, work: impl AsyncFnOnce(Progress<'_>) -> T) -> T {
    let bar = progress(0, what);
    let done = work(&|done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    })
    .await;
    bar.finish_and_clear();
    done
}

/// The answer to a yes-or-no question on the terminal. `None` when there is none to ask on.
fn answer(question: &str) -> Result<Option<bool>, Failure> {
    let answer = ask(&format!("{question} [y/N]"))?;
    Ok(answer.map(|answer| matches!(answer.as_str(), "y" | "yes")))
}

/// Whether `yes` was given, or is the answer to a question on the terminal. Fails with
/// [`Exit::NeedsConfirmation`] with the question and what else can be done (`or`), when there is nobody to ask.
pub(super) fn confirmed(yes: bool, question: &str, or: &str) -> Result<bool, Failure> {
    let answer = if yes { Some(true) } else { answer(question)? };
    answer.ok_or_else(|| Failure::new(Exit::NeedsConfirmation, format!("{question} Say so with --yes{or}")))
}

/// Fails with [`Exit::NeedsConfirmation`] unless `yes` was given, or is the answer to a question on the
/// terminal. `refusal` says what was not done; it is told whether somebody was there to be asked.
pub(super) fn confirm(
    yes: bool,
    question: &str,
    refusal: impl FnOnce(bool) -> String,
) -> Result<(), Failure> {
    let answer = if yes { Some(true) } else { answer(question)? };
    if answer == Some(true) {
        return Ok(());
    }
    Err(Failure::new(Exit::NeedsConfirmation, refusal(answer.is_some())))
}

/// The same where there is no more to say than that nothing was `done`.
pub(super) fn confirm_or_nothing(yes: bool, question: &str, done: &str) -> Result<(), Failure> {
    let text = format!("nothing was {done}: it needs a confirmation, on a terminal or with --yes");
    confirm(yes, question, |_| text)
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

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("a,\"b\"\nc"), "\"a,\"\"b\"\" c\"");
        assert_eq!(cell("=1+1"), "'=1+1");
        assert_eq!(cell("-5"), "-5");
    }
}
