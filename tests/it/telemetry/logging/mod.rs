//! `docs/logging.md` lists the fields that there are, messages are constant, and nothing of a person and
//! no secret is in any log, whatever happens.

mod everything;
mod personal;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::Backend;

/// One line of code that logs.
struct Logged {
    place: String,
    fields: Vec<String>,
    message: Option<String>,
}

/// Every file of ours in which something may be logged.
fn sources() -> Vec<PathBuf> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.push(path);
        }
    }
    found
}

fn logged() -> Vec<Logged> {
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
            all.push(Logged {
                place: format!("{}:{line}", path.display()),
                fields: fields.iter().map(|field| name_of(field)).collect(),
                message: texts.into_iter().next(),
            });
        }
    }
    all
}

/// `error` of `%error`, `reason` of `reason = code.as_str()`.
fn name_of(field: &str) -> String {
    field.split('=').next().unwrap().trim().trim_start_matches(['%', '?']).to_owned()
}

/// The arguments of a macro, up to its closing parenthesis.
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

/// The fields that the document has.
fn documented() -> BTreeSet<String> {
    let document = include_str!("../../../../docs/logging.md");
    let fields = document.split("## Fields").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = fields.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

#[test]
fn the_document_lists_the_fields_that_the_code_has() {
    let logged = logged();
    assert!(logged.len() > 60, "{}", logged.len());
    let mut fields: BTreeSet<String> = logged.iter().flat_map(|line| line.fields.clone()).collect();
    // What every line has, and what lines within a trace have.
    fields.extend(["message".to_owned(), "trace_id".to_owned()]);
    assert_eq!(fields, documented());
}

#[test]
fn messages_are_constant() {
    for Logged { place, fields, message } in logged() {
        match message {
            Some(text) => assert!(!text.contains(['{', '}']), "{place}: {text}"),
            None => assert!(fields.contains(&"message".to_owned()), "{place}: no message"),
        }
    }
}

/// Every line is a document with the fields of a line, and no others than are documented.
fn documents(text: &str) {
    let documented = documented();
    // What a command tells whoever typed it (`note: …`, `error: …`) is no log.
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let line = line.as_object().unwrap();
        // Libraries have fields of their own, and some no message.
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
async fn nothing_personal_on_sqlite_in_text() {
    everything::happens(Backend::Sqlite, "text").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_personal_on_mariadb_in_json() {
    documents(&everything::happens(Backend::MariaDb, "json").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_personal_on_postgresql_in_json() {
    documents(&everything::happens(Backend::Postgres, "json").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_personal_on_mariadb_in_text() {
    everything::happens(Backend::MariaDb, "text").await;
}
