//! Reads CSV as spreadsheet programs write it (with commas, semicolons or tabs; in UTF-8, UTF-16 or
//! Windows-1252), and writes CSV in which no cell is a formula.

use std::io::Write;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::app::formulas::{escaped, unescaped};

/// The maximum length of a cell, in characters. A longer cell results from a missing closing quotation mark.
const MAX_CELL_CHARS: usize = 2000;

/// The contents of a file.
#[derive(Debug)]
pub(super) struct Sheet {
    /// The names of the columns in lower case.
    pub(super) columns: Vec<String>,
    /// The rows below the header, without empty ones.
    pub(super) rows: Vec<Row>,
    /// The delimiter between cells.
    pub(super) delimiter: u8,
    /// The encoding of the file.
    pub(super) encoding: &'static str,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its line in the file, from 1.
    pub(super) line: u64,
    /// Its cells, without the apostrophes that keep them from being formulas.
    pub(super) cells: Vec<String>,
}

impl Sheet {
    /// Reads a file. Its columns must be in `known` and include all `required` ones. The error quotes no cell
    /// below the header.
    pub(super) fn read(bytes: &[u8], known: &[&str], required: &[&str]) -> Result<Self, String> {
        let (text, encoding) = decode(bytes)?;
        // The parser counts lines by \n alone.
        let text = text.replace("\r\n", "\n");
        let (named_delimiter, text) = match text.strip_prefix("sep=").and_then(|rest| rest.split_once('\n')) {
            // Excel may write a first line that names the delimiter.
            Some((mark, rest)) => (mark.trim_end().bytes().next(), rest),
            None => (None, text.as_str()),
        };
        let skipped = u64::from(named_delimiter.is_some());
        let delimiter = named_delimiter.unwrap_or_else(|| guess_delimiter(text, known));
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes());
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| format!("cannot be read as CSV: {error}"))?;
            let line = record.position().map_or(0, csv::Position::line) + skipped;
            let cells: Vec<String> = record.iter().map(|cell| unescaped(cell.trim())).collect();
            if cells.iter().any(|cell| !cell.is_empty()) {
                rows.push(Row { line, cells });
            }
        }
        if rows.is_empty() {
            return Err("is empty: expected a header and rows".into());
        }
        let columns: Vec<String> = rows.remove(0).cells.iter().map(|cell| cell.to_lowercase()).collect();
        check_columns(&columns, known, required)?;
        Ok(Self { columns, rows, delimiter, encoding })
    }

    /// Returns the cell of this column, if the row has it and it is not empty.
    pub(super) fn cell<'a>(&self, row: &'a Row, column: &str) -> Option<&'a str> {
        let index = self.columns.iter().position(|name| name == column)?;
        row.cells.get(index).map(String::as_str).filter(|cell| !cell.is_empty())
    }

    /// Returns why the cells of this row are invalid, if they are.
    pub(super) fn problem_of(&self, row: &Row) -> Option<String> {
        if row.cells.iter().any(|cell| cell.chars().count() > MAX_CELL_CHARS) {
            let text = "characters: check whether a closing quotation mark is missing";
            return Some(format!("a cell is longer than {MAX_CELL_CHARS} {text}"));
        }
        let (found, expected) = (row.cells.len(), self.columns.len());
        (found != expected).then(|| format!("has {found} cells, but the header has {expected}"))
    }
}

fn check_columns(columns: &[String], known: &[&str], required: &[&str]) -> Result<(), String> {
    let all = known.join(", ");
    let missing: Vec<&str> =
        required.iter().copied().filter(|name| !columns.iter().any(|it| it == name)).collect();
    if !missing.is_empty() {
        return Err(format!(
            "has no column {} in its first line; the first line must be a header with some of: {all}",
            missing.join(" and no ")
        ));
    }
    for (index, name) in columns.iter().enumerate() {
        if !known.contains(&name.as_str()) {
            return Err(format!("has an unknown column {name:?}; the known columns are: {all}"));
        }
        if columns[..index].contains(name) {
            return Err(format!("has the column {name} twice"));
        }
    }
    Ok(())
}

/// Decodes a file by its byte order mark, or else by guessing its encoding.
fn decode(bytes: &[u8]) -> Result<(String, &'static str), String> {
    let (encoding, body) = match Encoding::for_bom(bytes) {
        Some((encoding, mark)) => (encoding, &bytes[mark..]),
        None => (guess_encoding(bytes), bytes),
    };
    let (text, had_errors) = encoding.decode_without_bom_handling(body);
    if had_errors || text.contains('\0') {
        return Err(format!("is not valid {}: save the file as CSV in UTF-8", encoding.name()));
    }
    Ok((text.into_owned(), encoding.name()))
}

fn guess_encoding(bytes: &[u8]) -> &'static Encoding {
    let start = &bytes[..bytes.len().min(1024)];
    let zeros = |first: usize| start.iter().skip(first).step_by(2).filter(|byte| **byte == 0).count();
    // In UTF-16, every other byte of a Latin letter is zero.
    match (zeros(0), zeros(1)) {
        (even, odd) if odd * 3 > start.len() && odd > even => UTF_16LE,
        (even, _) if even * 3 > start.len() => UTF_16BE,
        _ if std::str::from_utf8(bytes).is_ok() => UTF_8,
        // Spreadsheets in Western Europe write Windows-1252.
        _ => WINDOWS_1252,
    }
}

/// Returns the delimiter that gives the first line the most known columns.
fn guess_delimiter(text: &str, known: &[&str]) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let columns = |delimiter: u8| {
        let names =
            header.split(char::from(delimiter)).map(|name| name.trim().trim_matches('"').to_lowercase());
        names.filter(|name| known.contains(&name.as_str())).count()
    };
    [b'\t', b';', b','].into_iter().max_by_key(|delimiter| columns(*delimiter)).unwrap_or(b',')
}

/// The delimiter and encoding of a file to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// The delimiter between cells.
    pub(super) delimiter: u8,
    /// Whether to write a byte order mark, so that spreadsheets read UTF-8.
    pub(super) has_byte_order_mark: bool,
}

impl Form {
    /// The form for programs.
    pub(crate) const PLAIN: Self = Self { delimiter: b',', has_byte_order_mark: false };
    /// The form for a spreadsheet in a country with decimal commas.
    pub(crate) const EXCEL: Self = Self { delimiter: b';', has_byte_order_mark: true };
}

/// Writes rows of CSV in UTF-8.
pub(super) struct Writer<W: Write>(csv::Writer<W>);

impl<W: Write> Writer<W> {
    /// Creates a writer and writes the header.
    pub(super) fn new(mut out: W, form: Form, columns: &[&str]) -> Result<Self, csv::Error> {
        if form.has_byte_order_mark {
            out.write_all("\u{feff}".as_bytes())?;
        }
        let terminator =
            if form.has_byte_order_mark { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let writer =
            csv::WriterBuilder::new().delimiter(form.delimiter).terminator(terminator).from_writer(out);
        let mut this = Self(writer);
        this.row(columns)?;
        Ok(this)
    }

    /// Writes one row. No cell becomes a formula.
    pub(super) fn row<S: AsRef<str>>(&mut self, cells: &[S]) -> Result<(), csv::Error> {
        self.0.write_record(cells.iter().map(|cell| escaped(cell.as_ref())))
    }

    /// Flushes the writer.
    pub(super) fn end(mut self) -> Result<(), csv::Error> {
        Ok(self.0.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["host", "name", "staff"];

    fn read(bytes: &[u8]) -> Result<Sheet, String> {
        Sheet::read(bytes, &KNOWN, &["host"])
    }

    fn utf_16(text: &str, to: impl Fn(u16) -> [u8; 2], mark: bool) -> Vec<u8> {
        let mark = if mark { "\u{feff}" } else { "" };
        format!("{mark}{text}").encode_utf16().flat_map(to).collect()
    }

    #[test]
    fn every_delimiter_and_encoding_is_detected() {
        let text = "Host;name\r\n7;Zoë Grün\r\n";
        let latin = WINDOWS_1252.encode(text).0.into_owned();
        for (bytes, encoding) in [
            (text.as_bytes().to_vec(), "UTF-8"),
            (format!("\u{feff}{text}").into_bytes(), "UTF-8"),
            (latin, "windows-1252"),
            (utf_16(text, u16::to_le_bytes, true), "UTF-16LE"),
            (utf_16(text, u16::to_be_bytes, true), "UTF-16BE"),
            (utf_16(text, u16::to_le_bytes, false), "UTF-16LE"),
            (utf_16(text, u16::to_be_bytes, false), "UTF-16BE"),
        ] {
            let sheet = read(&bytes).unwrap();
            assert_eq!(
                (sheet.encoding, sheet.delimiter, &sheet.columns[..]),
                (encoding, b';', &["host".into(), "name".into()][..])
            );
            assert_eq!(sheet.rows, [Row { line: 2, cells: vec!["7".into(), "Zoë Grün".into()] }]);
            assert_eq!(sheet.cell(&sheet.rows[0], "name"), Some("Zoë Grün"));
        }
        assert_eq!(read(b"host,name\n7,\"a;b\"\n").unwrap().delimiter, b',');
        assert_eq!(read(b"\"host\"\t\"name\"\n7\tx\n").unwrap().delimiter, b'\t');
        let marked = read(b"sep=;\r\nhost;name\r\n\r\n;\r\n7;x\r\n").unwrap();
        assert_eq!((marked.delimiter, marked.rows[0].line, marked.rows.len()), (b';', 5, 1));
        assert!(read(b"host\n\0\0\0\x01\x02").unwrap_err().contains("is not valid"));
    }

    #[test]
    fn wrong_columns_are_reported_by_name() {
        assert!(read(b"").unwrap_err().contains("is empty"));
        assert!(read(b"7,x\n").unwrap_err().contains("no column host"));
        assert!(read(b"host,nmae\n7,x\n").unwrap_err().contains("unknown column \"nmae\""));
        assert!(read(b"host,name,host\n").unwrap_err().contains("the column host twice"));
        let sheet = read(b"host,name\n7\n8,x,y\n9,\"open\n").unwrap();
        let problems: Vec<_> = sheet.rows.iter().map(|row| sheet.problem_of(row)).collect();
        assert!(problems[0].as_ref().unwrap().contains("has 1 cells, but the header has 2"));
        assert!(problems[1].as_ref().unwrap().contains("has 3 cells"));
    }

    /// Returns the cells that a spreadsheet may make of a file, whichever delimiter it assumes, and whether or
    /// not it minds quotation marks in the middle of a cell.
    fn cells_of_any_reader(text: &str) -> Vec<String> {
        let mut cells: Vec<String> = text.split([',', ';', '\t', '\n', '\r']).map(str::to_owned).collect();
        for delimiter in [b',', b';', b'\t'] {
            let reader = csv::ReaderBuilder::new()
                .delimiter(delimiter)
                .has_headers(false)
                .flexible(true)
                .from_reader(text.as_bytes());
            cells.extend(
                reader
                    .into_records()
                    .flat_map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>()),
            );
        }
        cells
    }

    #[test]
    fn no_cell_is_a_formula_and_every_cell_is_read_back_unchanged() {
        let cells = [
            "=1+1",
            "+49 30",
            "-5",
            "@x",
            "'=1",
            "''+",
            "'quoted",
            "plain",
            "a;\"b\"\nc",
            "O'Neill",
            "",
            "Mara;=1+1;x",
            "Mara,=1+1,x",
            "Mara\t=1+1\tx",
            "Mara\n=1+1",
            "Mara; =1+1",
            "Mara,\"=1+1\",x",
            "Mara;\"=1+1\";x",
            "Mara;'=1+1;''@x",
            "＝1+1",
            "＋1",
            "－1",
            "＠x",
            "Mara;＝1+1",
            "\"=1+1",
            "Mara; x, y-z",
            "\t=1",
            "\rMara",
            "\r＝1",
            "'\tMara",
        ];
        for form in [Form::PLAIN, Form::EXCEL] {
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out, form, &["host", "name"]).unwrap();
            for cell in cells {
                writer.row(&["x", cell]).unwrap();
            }
            writer.end().unwrap();
            let text = String::from_utf8(out.clone()).unwrap();
            for cell in cells_of_any_reader(&text) {
                let start = cell.trim_start_matches(['"', ' ']);
                assert!(!start.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']), "{cell}\n{text}");
            }
            let sheet = read(&out).unwrap();
            let cells_read: Vec<&str> = sheet.rows.iter().map(|row| row.cells[1].as_str()).collect();
            assert_eq!(cells_read, cells);
        }
    }
}
