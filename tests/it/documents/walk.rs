//! Checks `docs/walk.md`, which follows one booking: each function exists and names the functions below it, and
//! the path is short.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The maximum number of files from the edge's route to the acknowledgement.
const MAX_FILES: usize = 45;

/// One line of the document.
struct Step {
    depth: usize,
    file: String,
    function: String,
}

fn steps() -> Vec<Step> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/walk.md")).unwrap();
    let step = |line: &str| {
        let (indent, rest) = line.split_once("- `")?;
        let (path, _) = rest.split_once("`: ")?;
        let (file, function) = path.split_once("::")?;
        let depth = indent.len() / 2;
        indent.trim().is_empty().then(|| Step { depth, file: file.to_owned(), function: function.to_owned() })
    };
    text.lines().filter_map(step).collect()
}

/// Returns the bodies of all functions with this name in a file, without comments.
fn bodies(text: &str, function: &str) -> String {
    let mut bodies = String::new();
    let starts = [format!("fn {function}("), format!("fn {function}<")];
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if !starts.iter().any(|start| code.contains(start)) {
            continue;
        }
        // In rustfmt's layout a body ends at a closing brace with the function's indentation.
        let indent = line.len() - line.trim_start().len();
        let end = format!("{}}}", " ".repeat(indent));
        for line in &lines[at + 1..] {
            bodies.push_str(line.split("//").next().unwrap_or_default());
            bodies.push('\n');
            if *line == end {
                break;
            }
        }
    }
    bodies
}

fn names(body: &str, function: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    body.match_indices(function).any(|(at, _)| {
        let (before, after) = (&body[..at], &body[at + function.len()..]);
        !before.ends_with(is_part) && !after.starts_with(is_part)
    })
}

#[test]
fn each_step_of_the_walk_exists_and_names_the_steps_below_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let (mut above, mut wrong): (Vec<(String, String)>, Vec<String>) = (Vec::new(), Vec::new());
    let steps = steps();
    for Step { depth, file, function } in &steps {
        let text = texts.entry(file.clone()).or_insert_with(|| {
            std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
        });
        let body = bodies(text, function);
        if body.is_empty() {
            wrong.push(format!("{file} has no function {function}"));
        }
        above.truncate(*depth);
        match above.last() {
            Some((parent, body)) if !names(body, function) => {
                wrong.push(format!("{parent} does not name {function}"));
            }
            None if *depth > 0 => wrong.push(format!("{function} is indented, but has no step above it")),
            _ => {}
        }
        above.push((function.clone(), body));
    }
    assert!(steps.len() > 30 && wrong.is_empty(), "{} steps; {}", steps.len(), wrong.join("\n"));
}

#[test]
fn the_walk_is_short() {
    let files: BTreeSet<String> = steps().into_iter().map(|step| step.file).collect();
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    assert!(files.len() <= MAX_FILES, "{} files:\n{}", files.len(), names.join("\n"));
}

#[test]
fn a_name_is_distinguished_from_a_longer_one() {
    assert!(names("self.take(1)", "take") && names("a::take", "take"));
    assert!(!names("self.takes(1); retake()", "take"));
}
