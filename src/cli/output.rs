//! Writes results to stdout: a table for people, JSON or CSV for programs. Everything else goes to stderr.
//!
//! Functions that write to stdout fail if stdout cannot be written; this is not repeated at each function.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Exit, Failure};
use crate::app::{Progress, formulas};
pub(super) use crate::runtime::clock::rfc3339 as moment;

/// The format of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// One JSON document, for programs.
    Json,
}

impl Output {
    /// Writes `value` as JSON, or calls `table` for people. Returns [`Exit::Done`].
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

    /// Writes a list as [`Output::show`] does. For people it writes `none` if there are no rows.
    pub(super) fn list<T>(
        self,
        value: &impl Serialize,
        rows: &[T],
        none: &str,
        table: impl FnOnce(&[T]) -> Result<(), Failure>,
    ) -> Result<Exit, Failure> {
        self.show(value, || if rows.is_empty() { print_line(none) } else { table(rows) })
    }
}

/// Writes one or more lines of text to stdout. Shows control characters instead of sending them.
pub(super) fn print_line(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout().lock(), "{}", escape_controls(text))?)
}

/// Writes a note to stderr.
pub(super) fn note(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stderr().lock(), "note: {}", escape_controls(text))?)
}

/// Escapes control characters, those that change the direction of writing or begin a line, and invisible ones:
/// text from senders must not control the terminal, or look like other text. Line breaks stay, and so do the
/// joiners that names and emoji need.
pub(super) fn escape_controls(text: &str) -> Cow<'_, str> {
    escape_with(text, |c| c.escape_unicode().to_string())
}

fn escape_with(text: &str, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if is_unsafe(c) { escape(c) } else { c.to_string() }).collect())
}

fn is_unsafe(c: char) -> bool {
    match c {
        '\n' => false,
        // Marks, embeddings, overrides and isolates of direction; separators of lines and paragraphs.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        // Invisible: the soft hyphen, zero widths, annotations and tags.
        '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => true,
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        other => other.is_control(),
    }
}

/// Writes `value` to stdout as one JSON document.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    json_text(&serde_json::to_string_pretty(value)?)
}

/// Writes `value` to stdout as JSON on one line.
pub(super) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    json_text(&serde_json::to_string(value)?)
}

fn json_text(text: &str) -> Result<(), Failure> {
    print_line(&escape_json_controls(text))
}

/// Escapes in a JSON document the control characters that serde_json does not.
pub(super) fn escape_json_controls(text: &str) -> Cow<'_, str> {
    let escape = |unit: &mut u16| format!("\\u{unit:04x}");
    escape_with(text, |c| c.encode_utf16(&mut [0; 2]).iter_mut().map(escape).collect())
}

/// Writes a table without borders to stdout: easy to read, and to process with cut. `head` may be empty.
pub(super) fn table(
    head: &[&str],
    rows: impl IntoIterator<Item: IntoIterator<Item = String>>,
) -> Result<(), Failure> {
    print_line(borderless(head, rows).trim_fmt().as_str())
}

/// Writes a table no wider than `width` columns to stdout; longer cells are wrapped.
pub(super) fn table_with_width(
    width: u16,
    head: &[&str],
    rows: impl IntoIterator<Item: IntoIterator<Item = String>>,
) -> Result<(), Failure> {
    let mut table = borderless(head, rows);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    print_line(table.trim_fmt().as_str())
}

fn borderless(head: &[&str], rows: impl IntoIterator<Item: IntoIterator<Item = String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !head.is_empty() {
        table.set_header(head.iter().copied());
    }
    // Escaped here, because the table computes its widths from the cells.
    for row in rows {
        table.add_row(row.into_iter().map(|cell| escape_controls(&cell).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Writes names, each with its value.
pub(super) fn pairs<K: Display>(rows: impl IntoIterator<Item = (K, String)>) -> Result<(), Failure> {
    table(&[], rows.into_iter().map(|(name, value)| [format!("  {name}"), value]))
}

/// The format of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// One JSON object per line
    Ndjson,
    /// Comma-separated, with a header
    Csv,
}

impl Format {
    /// Returns the requested format, or else that of `--output`.
    pub(super) fn of(requested: Option<Self>, output: Output) -> Self {
        requested.unwrap_or(match output {
            Output::Table => Self::Table,
            Output::Json => Self::Json,
        })
    }

    /// Returns whether rows are written one by one, so that their number need not be limited.
    pub(super) fn is_streamed(self) -> bool {
        matches!(self, Self::Ndjson | Self::Csv)
    }
}

/// Writes one line of JSON for each row.
pub(super) fn ndjson<T: Serialize>(rows: &[T]) -> Result<(), Failure> {
    rows.iter().try_for_each(json_line)
}

/// Writes one line of CSV for each row, with a header if `first` is true.
pub(super) fn csv<T: Serialize>(rows: &[T], first: bool) -> Result<(), Failure> {
    for (number, row) in rows.iter().enumerate() {
        let Value::Object(row) = serde_json::to_value(row)? else { continue };
        if first && number == 0 {
            let head: Vec<String> = row.keys().map(|name| cell(name)).collect();
            print_line(&head.join(","))?;
        }
        print_line(&csv_row(&row))?;
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

/// Renders a cell as in RFC 4180. Apostrophes keep a spreadsheet from reading the text as a formula.
fn cell(text: &str) -> String {
    let text = text.replace('\n', " ");
    let text = if text.parse::<f64>().is_ok() { text } else { formulas::escaped(&text) };
    if text.contains([',', '"', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// Writes the flag that shows older rows, if there are any.
pub(super) fn print_older_flag(next_before: Option<impl Display>) -> Result<(), Failure> {
    next_before.map_or(Ok(()), |next| print_line(&format!("There are older rows: --before {next}")))
}

/// Shortens text to one line of at most `max_chars` characters.
pub(super) fn shortened(text: &str, max_chars: usize) -> String {
    let text = text.replace('\n', " ");
    if text.chars().count() <= max_chars {
        return text;
    }
    text.chars().take(max_chars - 1).chain(['…']).collect()
}

/// Renders a cell, with a dash for a missing value.
pub(super) fn dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

/// Creates a progress bar on stderr for `steps` steps; hidden if stderr is not a terminal.
pub(super) fn progress(steps: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64).with_message(what);
    // The template is a constant; if it is ever wrong, the default bar is good enough.
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} ({per_sec}, {eta} left)");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Runs `work` with a progress bar, which the work updates.
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

/// Asks a yes-or-no question on the terminal. Returns `None` without a terminal.
fn ask_yes_no(question: &str) -> Result<Option<bool>, Failure> {
    let answer = ask(&format!("{question} [y/N]"))?;
    Ok(answer.map(|answer| matches!(answer.as_str(), "y" | "yes")))
}

/// Returns whether `yes` was given or the user confirms on the terminal. Without a terminal it
/// fails with [`Exit::NeedsConfirmation`], the question, and the alternative `or_else`.
pub(super) fn ask_confirmation(yes: bool, question: &str, or_else: &str) -> Result<bool, Failure> {
    let answer = if yes { Some(true) } else { ask_yes_no(question)? };
    answer.ok_or_else(|| {
        Failure::new(Exit::NeedsConfirmation, format!("{question} Confirm with --yes{or_else}"))
    })
}

/// Fails with [`Exit::NeedsConfirmation`] unless `yes` was given or the question was confirmed on the
/// terminal. `refusal` returns the error text; its argument is whether the question was asked.
pub(super) fn confirm(
    yes: bool,
    question: &str,
    refusal: impl FnOnce(bool) -> String,
) -> Result<(), Failure> {
    let answer = if yes { Some(true) } else { ask_yes_no(question)? };
    if answer == Some(true) {
        return Ok(());
    }
    Err(Failure::new(Exit::NeedsConfirmation, refusal(answer.is_some())))
}

/// Like [`confirm`]; the error is that nothing was `done`.
pub(super) fn confirm_change(yes: bool, question: &str, done: &str) -> Result<(), Failure> {
    let text = format!("nothing was {done}: this needs a confirmation, on a terminal or with --yes");
    confirm(yes, question, |_| text)
}

/// Asks a question on the terminal, and returns the answer in lower case. Returns `None` without a terminal.
/// Fails if the terminal cannot be read.
pub(super) fn ask(question: &str) -> Result<Option<String>, Failure> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Ok(None);
    }
    write!(std::io::stderr().lock(), "{} ", escape_controls(question))?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(Some(answer.trim().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        assert_eq!(escape_controls("Zoë\n\u{1b}[2J\u{9b}\u{202e}"), "Zoë\n\\u{1b}[2J\\u{9b}\\u{202e}");
        for c in "\u{61c}\u{200b}\u{200e}\u{200f}\u{2028}\u{202a}\u{2066}\u{2069}\u{feff}\u{e0061}\r\t\u{7f}"
            .chars()
        {
            let escaped = escape_controls(&format!("a{c}b")).into_owned();
            assert_eq!(escaped, format!("a{}b", c.escape_unicode()));
        }
        assert_eq!(escape_controls("plain"), "plain");
        let family = "\u{1f469}\u{200d}\u{1f467}";
        assert_eq!(escape_controls(family), family, "joined emoji stay");
        let json = escape_json_controls("\"a\u{e0061}\u{61c}\"").into_owned();
        assert_eq!(json, "\"a\\udb40\\udc61\\u061c\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), "a\u{e0061}\u{61c}");
    }

    #[test]
    fn cells_of_a_table_with_control_characters_are_aligned() {
        let rows = [["a\u{61c}\u{1b}[2Jb", "x"], ["plain", "y"]].map(|row| row.map(str::to_owned));
        let table = borderless(&["ONE", "TWO"], rows).trim_fmt();
        let second: Vec<usize> = table.lines().filter_map(|line| line.find(['T', 'x', 'y'])).collect();
        assert!(table.contains("a\\u{61c}\\u{1b}[2Jb") && !table.contains('\u{1b}'), "{table}");
        assert!(second.iter().all(|place| *place == second[0]), "{table}");
    }

    #[test]
    fn cells_are_quoted_and_are_not_formulas() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("a,\"b\"\nc"), "\"a,\"\"b\"\" c\"");
        assert_eq!(cell("=1+1"), "'=1+1");
        assert_eq!(cell("-5"), "-5");
        assert_eq!(cell("Mara;=1+1;x"), "Mara;'=1+1;x");
        assert_eq!(cell("Mara,=1+1,x"), "\"Mara,'=1+1,x\"");
        assert_eq!(cell("＝1+1"), "'＝1+1");
    }
}
