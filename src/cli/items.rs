//! Reads events from a file: one JSON object, a JSON array, or one object per line (NDJSON).
//!
//! Each event keeps its exact bytes.

use std::fmt;
use std::path::Path;

use serde::de::IgnoredAny;
use serde_json::Deserializer;

use super::{Exit, Failure};

/// The place of an event in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The whole file.
    Whole,
    /// The index in the array, from 0 as in a JSON pointer.
    Index(usize),
    /// The line, from 1.
    Line(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("-"),
            Self::Index(index) => write!(f, "index {index}"),
            Self::Line(line) => write!(f, "line {line}"),
        }
    }
}

/// Reads a file; `-` is standard input. Fails with [`Exit::NotFound`] if the file does not exist, and with
/// [`Exit::Failed`] if it cannot be read.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let read = if file == Path::new("-") {
        let mut input = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut input).map(|_| input)
    } else {
        std::fs::read(file)
    };
    read.map_err(|error| unreadable(file, &error))
}

/// Opens a file for reading in parts. Fails like [`read`].
pub(super) fn open(file: &Path) -> Result<std::fs::File, Failure> {
    std::fs::File::open(file).map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let exit = if missing { Exit::NotFound } else { Exit::Failed };
    Failure::new(exit, format!("{} cannot be read: {error}", file.display()))
}

/// Returns the events in `input`, the bytes of `file`. Fails like [`split`].
pub(super) fn split_file<'a>(file: &Path, input: &'a [u8]) -> Result<Vec<(Place, &'a [u8])>, Failure> {
    split(input).map_err(|problem| Failure::new(Exit::Failed, format!("{} {problem}", file.display())))
}

/// Returns the events in `input`, in order, without validating them. Fails if `input` is empty or has no known
/// form; the error says where.
pub(super) fn split(input: &[u8]) -> Result<Vec<(Place, &[u8])>, String> {
    let input = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input).trim_ascii();
    let whole: Result<IgnoredAny, _> = serde_json::from_slice(input);
    match (input.first(), whole) {
        (None, _) => Err("is empty; expected a JSON object, an array of them, or one per line".into()),
        (Some(b'['), Ok(_)) => Ok(elements(&input[1..])),
        (Some(b'['), Err(error)) => Err(format!("is an array that is not valid JSON: {error}")),
        (_, Ok(_)) => Ok(vec![(Place::Whole, input)]),
        (_, Err(error)) => {
            let lines = input.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
            let lines: Vec<_> = lines.filter(|(_, line)| !line.is_empty()).collect();
            // A valid first line distinguishes lines of objects from one broken object.
            let first_is_valid =
                lines.first().is_some_and(|(_, line)| serde_json::from_slice::<IgnoredAny>(line).is_ok());
            if !first_is_valid {
                return Err(format!("is not valid JSON: {error}"));
            }
            Ok(lines.into_iter().map(|(number, line)| (Place::Line(number + 1), line)).collect())
        }
    }
}

/// Returns the elements of a valid JSON array. `rest` begins after the opening bracket.
fn elements(mut rest: &[u8]) -> Vec<(Place, &[u8])> {
    let mut elements = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        if rest.first().is_none_or(|byte| *byte == b']') {
            return elements;
        }
        let mut values = Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
        let _valid = values.next();
        let (element, remaining) = rest.split_at(values.byte_offset());
        elements.push((Place::Index(elements.len()), element));
        rest = remaining.trim_ascii_start();
        rest = rest.strip_prefix(b",").unwrap_or(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_text(input: &str) -> Vec<(Place, &str)> {
        let items = split(input.as_bytes()).unwrap();
        items.into_iter().map(|(place, bytes)| (place, std::str::from_utf8(bytes).unwrap())).collect()
    }

    #[test]
    fn each_form_is_detected_and_bytes_stay_unchanged() {
        assert_eq!(split_text(" {\n \"a\": 1.50 }\n"), [(Place::Whole, "{\n \"a\": 1.50 }")]);
        assert_eq!(
            split_text("[ {\"a\":[1,{}]} ,7, \"x]\",{ } ]"),
            [
                (Place::Index(0), "{\"a\":[1,{}]}"),
                (Place::Index(1), "7"),
                (Place::Index(2), "\"x]\""),
                (Place::Index(3), "{ }")
            ]
        );
        assert_eq!(split_text("[]"), []);
        assert_eq!(
            split_text("\u{feff}{\"a\":1}\r\n\n{\"b\":\n{\"c\":2}\n"),
            [(Place::Line(1), "{\"a\":1}"), (Place::Line(3), "{\"b\":"), (Place::Line(4), "{\"c\":2}")]
        );
    }

    #[test]
    fn invalid_json_is_refused_with_its_place() {
        assert!(split(b" \n ").unwrap_err().contains("is empty"));
        assert!(split(b"[{},\n{]").unwrap_err().contains("line 2"));
        assert!(split(b"{\n\"a\":\n}").unwrap_err().contains("line 3"));
        assert!(split(b"\xff\xfe").unwrap_err().contains("not valid JSON"));
    }
}
