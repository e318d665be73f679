//! Tests that `docs/logging.md` lists all log fields, that messages are constant, and that no log contains personal
//! data or a secret.

mod encodings;
mod full_run;
mod personal;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::Backend;

/// One log statement in the code.
struct LogStatement {
    location: String,
    fields: Vec<String>,
    message: Option<String>,
}

/// Returns every source file that may log.
fn sources() -> Vec<PathBuf> {
    let mut pending = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut found = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.push(path);
        }
    }
    found
}

fn log_statements() -> Vec<LogStatement> {
    let mut all = Vec::new();
    for path in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (start, _) in code.match_indices("tracing::") {
            let rest = &code[start + "tracing::".len()..];
            let is_macro = ["error!(", "warn!(", "info!(", "debug!(", "trace!("].iter();
            let Some(name) = is_macro.copied().find(|name| rest.starts_with(name)) else { continue };
            let line = code[..start].lines().count();
            let arguments = arguments(&rest[name.len()..]);
            let (texts, fields): (Vec<_>, Vec<_>) =
                arguments.into_iter().partition(|argument| argument.starts_with('"'));
            all.push(LogStatement {
                location: format!("{}:{line}", path.display()),
                fields: fields.iter().map(|field| name_of(field)).collect(),
                message: texts.into_iter().next(),
            });
        }
    }
    all
}

/// Returns `error` for `%error`, `reason` for `reason = code.as_str()`.
fn name_of(field: &str) -> String {
    field.split('=').next().unwrap().trim().trim_start_matches(['%', '?']).to_owned()
}

/// Returns the arguments of a macro, up to its closing parenthesis.
fn arguments(text: &str) -> Vec<String> {
    let (mut all, mut one, mut depth, mut quoted, mut before) = (Vec::new(), String::new(), 0, false, ' ');
    for c in text.chars() {
        match c {
            '"' if before != '\\' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted && depth > 0 => depth -= 1,
            ')' if !quoted => break,
            _ => {}
        }
        if c == ',' && !quoted && depth == 0 {
            all.push(std::mem::take(&mut one));
        } else {
            one.push(c);
        }
        before = c;
    }
    all.push(one);
    all.iter().map(|argument| argument.trim().to_owned()).filter(|argument| !argument.is_empty()).collect()
}

/// Returns the fields that the document lists.
fn read_documented_fields() -> BTreeSet<String> {
    let document = include_str!("../../../../docs/logging.md");
    let fields = document.split("## Fields").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = fields.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

#[test]
fn the_document_lists_the_fields_of_the_code() {
    let logged = log_statements();
    assert!(logged.len() > 60, "{}", logged.len());
    let mut fields: BTreeSet<String> = logged.iter().flat_map(|line| line.fields.clone()).collect();
    // Fields of every line, and of lines within a trace.
    fields.extend(["message".to_owned(), "trace_id".to_owned()]);
    assert_eq!(fields, read_documented_fields());
}

#[test]
fn messages_are_constant() {
    for LogStatement { location, fields, message } in log_statements() {
        match message {
            Some(text) => assert!(!text.contains(['{', '}']), "{location}: {text}"),
            None => assert!(fields.contains(&"message".to_owned()), "{location}: no message"),
        }
    }
}

/// Checks that every line is a JSON document with the required fields, and that its fields are documented.
fn assert_documented(text: &str) {
    let documented = read_documented_fields();
    // A command's messages to its user (`note: …`, `error: …`) are not part of the log.
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let line = line.as_object().unwrap();
        // Libraries have their own fields, and some of their lines have no message.
        if !line["target"].as_str().unwrap().starts_with("hostmatch") {
            continue;
        }
        for field in ["timestamp", "level", "message"] {
            assert!(line.contains_key(field), "{field}: {line:?}");
        }
        let known = |field: &String| {
            documented.contains(field) || ["timestamp", "level", "target"].contains(&field.as_str())
        };
        let unknown: Vec<_> = line.keys().filter(|field| !known(field)).collect();
        assert!(unknown.is_empty(), "{unknown:?}: {line:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_personal_data_on_sqlite_in_text() {
    full_run::record(Backend::Sqlite, "text").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_personal_data_on_mariadb_in_json() {
    assert_documented(&full_run::record(Backend::MariaDb, "json").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_personal_data_on_postgresql_in_json() {
    assert_documented(&full_run::record(Backend::Postgres, "json").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_personal_data_on_mariadb_in_text() {
    full_run::record(Backend::MariaDb, "text").await;
}
