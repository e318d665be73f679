//! Code refers to columns through their entities, never by a string, because the compiler cannot detect a
//! string that is misspelled or that a rename has made outdated.

use std::path::Path;

use crate::documents::tidy::{Source, files};

/// The files that describe the columns of a table.
const ENTITY_FILES: [&str; 2] = ["src/store/entity", "src/queue/embedded/entity.rs"];

/// Calls whose first argument is a column or a table.
const NAMING: [&str; 20] = [
    "Alias::new(",
    "Expr::col(",
    "Expr::column(",
    ".column(",
    ".columns(",
    ".group_by_col(",
    ".group_by_columns(",
    ".update_column(",
    ".update_columns(",
    "do_nothing_on(",
    "OnConflict::column(",
    "OnConflict::columns(",
    "TableRef::Table(",
    ".equals(",
    ".order_by(",
    ".from(",
    ".from_as(",
    ".into_table(",
    ".table(",
    ".value(",
];

/// Calls that read a column. Some have a prefix as their first argument, which is empty.
const READING: [&str; 2] = ["try_get(", "try_get_by("];

/// Returns the calls in this code that refer to a column by a string.
fn named_by_string(code: &str) -> Vec<String> {
    let compact: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let compact = without_type_arguments(&compact);
    let mut found = Vec::new();
    for call in NAMING.iter().chain(&READING) {
        for (start, _) in compact.match_indices(call) {
            let rest = &compact[start + call.len()..];
            let arguments =
                if READING.contains(call) { rest.strip_prefix("\"\",").unwrap_or(rest) } else { rest };
            let first = first_argument(arguments);
            if first.contains('"') {
                found.push(format!("{call}{first}"));
            }
        }
    }
    let conversions = ["\".into_column_ref(", "\".into_iden(", "\".into_table_ref("];
    found.extend(conversions.iter().filter(|call| compact.contains(**call)).map(|call| (*call).to_owned()));
    found
}

/// Removes type arguments: `try_get::<Option<String>>(` becomes `try_get(`.
fn without_type_arguments(compact: &str) -> String {
    let mut plain = String::new();
    let mut rest = compact;
    while let Some(at) = rest.find("::<") {
        plain.push_str(&rest[..at]);
        let mut depth = 0_u32;
        let end = rest[at + 2..].char_indices().find_map(|(i, c)| {
            match c {
                '<' => depth += 1,
                '>' => depth -= 1,
                _ => {}
            }
            (depth == 0).then_some(at + 2 + i + 1)
        });
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    plain + rest
}

/// Returns the text up to the comma or parenthesis that ends the argument.
fn first_argument(arguments: &str) -> &str {
    let mut depth = 0_u32;
    for (i, c) in arguments.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth > 0 => depth -= 1,
            ',' | ')' if depth == 0 => return &arguments[..i],
            _ => {}
        }
    }
    arguments
}

fn columns_named_by_string(source: &Source) -> Vec<String> {
    let code: String = source.code().collect::<Vec<_>>().join("\n");
    if code.contains("sea_orm") || code.contains("prelude::*") { named_by_string(&code) } else { Vec::new() }
}

#[test]
fn columns_are_named_by_their_entities() {
    let mut wrong = Vec::new();
    for source in files(&["src"], "rs") {
        if ENTITY_FILES.iter().any(|place| source.path.starts_with(Path::new(place))) {
            continue;
        }
        wrong.extend(
            columns_named_by_string(&source)
                .first()
                .map(|first| format!("{}: {first}", source.path.display())),
        );
    }
    assert!(wrong.is_empty(), "columns are named by strings:\n{}", wrong.join("\n"));
}

#[test]
fn every_way_of_naming_a_column_by_a_string_is_detected() {
    for by_string in [
        r#"Expr::col("id").eq(1)"#,
        r#"Expr::col((m, "id"))"#,
        "select.columns([\n    \"id\",\n])",
        r#"select.order_by(("a", "id"), Order::Asc)"#,
        r#"row.try_get::<Option<DbId>>("", "id")?"#,
        r#"row.try_get_by::<i64, _>("id")"#,
        r#"row.try_get("", "id")"#,
        r#"update.value("state", state)"#,
        r#"Alias::new("newest")"#,
        r#""id".into_column_ref()"#,
    ] {
        assert_eq!(named_by_string(by_string).len(), 1, "{by_string}");
    }
    for by_entity in [
        "Expr::col(Column::Id).eq(\"x\")",
        "Expr::col((m, Column::Id))",
        "select.columns([Column::Id])",
        "row.try_get::<DbId>(\"\", Column::Id.as_str())?",
        "update.value(Column::State, \"open\")",
    ] {
        assert_eq!(named_by_string(by_entity), Vec::<String>::new());
    }
}
