//! Keeps spreadsheet programs from reading text in CSV as formulas.
//!
//! A spreadsheet may split a line at another delimiter than the writer's, and then ignores quotation marks in
//! the middle of a cell. So a formula may begin at the start of a text, and after each delimiter in it.

/// The characters at which spreadsheet programs split a file into cells.
const DELIMITERS: [char; 5] = [',', ';', '\t', '\n', '\r'];

/// The characters that begin a formula. Spreadsheets for East Asia also accept the full-width forms, and some
/// ignore a tab or a carriage return before them.
const FORMULA_STARTS: [char; 10] = ['=', '+', '-', '@', '＝', '＋', '－', '＠', '\t', '\r'];

/// Puts an apostrophe wherever the text would begin a formula, even behind other apostrophes, so that
/// [`unescaped`] restores the text.
pub(crate) fn escaped(text: &str) -> String {
    rewritten(text, |apostrophes| apostrophes + 1)
}

/// Removes one apostrophe wherever the text would begin a formula without its apostrophes.
pub(crate) fn unescaped(text: &str) -> String {
    rewritten(text, |apostrophes| apostrophes.saturating_sub(1))
}

/// Changes the number of apostrophes before each character that may begin a formula.
fn rewritten(text: &str, change: impl Fn(usize) -> usize) -> String {
    let mut rewritten = String::with_capacity(text.len() + 1);
    for cell in text.split_inclusive(DELIMITERS) {
        // Some programs ignore spaces and quotation marks before a formula.
        let body =
            cell.trim_start_matches(|c: char| c == '"' || (c.is_whitespace() && !DELIMITERS.contains(&c)));
        let start = body.trim_start_matches('\'');
        rewritten.push_str(&cell[..cell.len() - body.len()]);
        if start.starts_with(FORMULA_STARTS) {
            rewritten.push_str(&"'".repeat(change(body.len() - start.len())));
            rewritten.push_str(start);
        } else {
            rewritten.push_str(body);
        }
    }
    rewritten
}
