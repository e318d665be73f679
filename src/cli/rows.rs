//! Rows of a list in the form that was asked for: a table, one JSON document, JSON lines, CSV.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Failure, Output, output};

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
    rows.iter().try_for_each(output::json_line)
}

/// Writes one line of CSV for each, with a head if it is the `first` time.
pub(super) fn csv<T: Serialize>(rows: &[T], first: bool) -> Result<(), Failure> {
    for (number, row) in rows.iter().enumerate() {
        let Value::Object(row) = serde_json::to_value(row)? else { continue };
        if first && number == 0 {
            let head: Vec<String> = row.keys().map(|name| cell(name)).collect();
            output::line(&head.join(","))?;
        }
        output::line(&cells(&row))?;
    }
    Ok(())
}

fn cells(row: &Map<String, Value>) -> String {
    let cells: Vec<String> = row
        .values()
        .map(|value| match value {
            Value::Null => String::new(),
            Value::String(text) => cell(text),
            other => cell(&other.to_string()),
        })
        .collect();
    cells.join(",")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("a,\"b\"\nc"), "\"a,\"\"b\"\" c\"");
        assert_eq!(cell("=1+1"), "'=1+1");
        assert_eq!(cell("-5"), "-5");
    }
}
