//! Checks the structure of the code: layers, cycles, required and forbidden contents of files, and links.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The layers, from the bottom up, as `src/lib.rs` and `docs/architecture.md` describe them. Modules of one
/// layer must not use each other.
const LAYERS: [&[&str]; 10] = [
    &["config", "runtime"],
    &["http"],
    &["event", "telemetry"],
    &["matching", "contract"],
    &["store", "queue"],
    &["decide"],
    &["app"],
    &["install"],
    &["worker", "edge"],
    &["cli"],
];

const MAX_LINES: usize = 400;

/// Names that do not say what a module contains.
const VAGUE_NAMES: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "manager", "misc", "shared"];

/// A file of the repository.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Source {
    fn name(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    /// Returns the lines of code, without comments and the contents of multi-line strings.
    pub(crate) fn code(&self) -> impl Iterator<Item = &str> {
        self.text.lines().map(|line| line.split("//").next().unwrap_or_default())
    }

    /// Returns the top-level module: `src/event/ids.rs` and `src/event/mod.rs` belong to `event`, as
    /// `src/event.rs` would.
    fn top_module(&self) -> String {
        let inside = self.path.strip_prefix("src").unwrap();
        inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
    }
}

/// Returns the files under these paths that have this extension, sorted by path.
pub(crate) fn files(paths: &[&str], extension: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pending: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    let mut found = Vec::new();
    while let Some(path) = pending.pop() {
        let full = root.join(&path);
        if full.is_dir() {
            pending.extend(full.read_dir().unwrap().map(|entry| path.join(entry.unwrap().file_name())));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(Source { text: std::fs::read_to_string(full).unwrap(), path });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn rust_files() -> Vec<Source> {
    files(&["src", "migration/src", "tests", "benches"].map(existing).concat(), "rs")
}

fn existing(path: &str) -> Vec<&str> {
    let exists = Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists();
    if exists { vec![path] } else { vec![] }
}

/// Returns, for each top-level module, the other top-level modules that it refers to through `crate::…`.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let mut dependencies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in files(&["src"], "rs") {
        let module = source.top_module();
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let code: String = source.code().collect::<Vec<_>>().join("\n");
        let used = dependencies.entry(module.clone()).or_default();
        for rest in code.split("crate::").skip(1) {
            used.extend(first_names(rest).into_iter().filter(|name| *name != module));
        }
    }
    dependencies
}

/// Returns the first segment of the path after `crate::`, or of each path in braces.
fn first_names(rest: &str) -> Vec<String> {
    let name =
        |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let (mut depth, mut names, mut start) = (0_u32, Vec::new(), 0);
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(name(&group[start..i]));
                start = i + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn modules_depend_only_on_lower_layers() {
    let layer = |module: &str| {
        LAYERS.iter().position(|modules| modules.contains(&module)).unwrap_or_else(|| {
            panic!(
                "src/{module} is in no layer: add it to tests/it/documents/tidy.rs, src/lib.rs and \
                 docs/architecture.md"
            )
        })
    };
    let dependencies = dependencies();
    let mut wrong = Vec::new();
    for (module, used) in &dependencies {
        for other in used {
            if layer(other) >= layer(module) {
                wrong.push(format!(
                    "{module} (layer {}) uses {other} (layer {})",
                    layer(module),
                    layer(other)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A module uses only lower layers, so there can be no cycle. The next line checks that the scan works.
    assert!(
        dependencies["cli"].contains("config"),
        "the scan did not find that cli uses config: {dependencies:?}"
    );
}

#[test]
fn the_command_line_reads_and_writes_through_use_cases_only() {
    // Composition roots wire the modules together; failure.rs maps the modules' errors to exit codes.
    const ROOTS: [&str; 4] =
        ["src/cli/serve.rs", "src/cli/migrate.rs", "src/cli/demo/", "src/cli/failure.rs"];
    let mut wrong = Vec::new();
    for source in files(&["src/cli"], "rs") {
        let path = source.path.to_string_lossy();
        if ROOTS.iter().any(|root| path.starts_with(root)) {
            continue;
        }
        let code: String = source.code().collect::<Vec<_>>().join("\n");
        let used = code.split("crate::").skip(1).flat_map(first_names);
        let below = used.filter(|name| ["store", "queue", "decide"].contains(&name.as_str()));
        wrong.extend(below.map(|name| format!("{path} uses {name} directly: go through a use case in app")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_scan_reads_every_form_of_path() {
    assert_eq!(first_names("config::load;"), ["config"]);
    assert_eq!(first_names("{config, event::{Host, ids}, queue::Message};"), ["config", "event", "queue"]);
    assert_eq!(first_names("{\n    store::Store,\n    worker,\n};"), ["store", "worker"]);
}

#[test]
fn the_layers_are_in_the_crate_documentation_too() {
    let crate_root = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).unwrap();
    for (number, modules) in LAYERS.iter().enumerate() {
        let links: Vec<_> = modules.iter().map(|module| format!("[`{module}`]")).collect();
        let row = format!("//! | {number} | {} |", links.join(", "));
        assert!(crate_root.contains(&row), "src/lib.rs lacks the row {row}");
    }
}

#[test]
fn every_file_has_a_module_comment_and_a_limited_length() {
    let mut wrong = Vec::new();
    for source in rust_files() {
        if !source.text.starts_with("//! ") {
            wrong.push(format!("{}: does not begin with a module comment (//!)", source.name()));
        }
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{}: {lines} lines; the limit is {MAX_LINES}", source.name()));
        }
        for part in source.path.iter() {
            let part = part.to_string_lossy();
            if VAGUE_NAMES.contains(&part.trim_end_matches(".rs")) {
                wrong.push(format!(
                    "{}: the name {part} does not say what the module contains",
                    source.name()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_no_leftovers_and_no_silenced_lints() {
    // Split, so that this file does not match itself.
    let forbidden = [
        ("dbg", "!("),
        ("todo", "!("),
        ("unimplemented", "!("),
        ("#[", "ignore"),
        ("#[", "allow("),
        ("#![", "allow("),
        ("thread::", "sleep("),
        ("TO", "DO"),
        ("FIX", "ME"),
    ]
    .map(|(one, two)| format!("{one}{two}"));
    let mut wrong = Vec::new();
    for source in rust_files() {
        for (number, line) in source.text.lines().enumerate() {
            for pattern in forbidden.iter().filter(|pattern| line.contains(pattern.as_str())) {
                wrong.push(format!("{}:{}: {pattern}", source.name(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Doc tests are disabled in Cargo.toml, so a Rust code block would look tested although it is not.
#[test]
fn doc_comments_contain_only_text_blocks() {
    let mut wrong = Vec::new();
    for source in files(&["src", "migration/src"], "rs") {
        let fences =
            source.text.lines().map(|line| line.trim_start().trim_start_matches(['/', '!']).trim_start());
        let openings = fences.filter(|line| line.starts_with("```")).step_by(2);
        wrong.extend(
            openings.filter(|line| *line != "```text").map(|line| format!("{}: {line}", source.name())),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_one_http_client_is_used() {
    let mut users = BTreeSet::new();
    for source in files(&["src"], "rs") {
        let code: String = source.code().collect::<Vec<_>>().join("\n");
        let mut used = code.split("reqwest::").skip(1).flat_map(first_names);
        if used.any(|name| ["Client", "ClientBuilder", "blocking", "get"].contains(&name.as_str())) {
            users.insert(source.name().to_string());
        }
    }
    assert_eq!(users, BTreeSet::from(["src/http/client.rs".to_owned()]));
}

#[test]
fn stored_values_are_interpreted_in_one_place() {
    // Code must not compare strings to decide whether an actor is a hostmatch process
    // (`Actor::is_own_process`), or whether a mapping comes from a match (`MappingSource`).
    let before = ["== ", "!= ", "eq(", "ne(", "ignore_ascii_case(", "starts_with(", "Some(", "&str = "];
    let after = [" ==", " !=", " =>", ").is_some_and"];
    let mut wrong = Vec::new();
    for source in files(&["src"], "rs") {
        for (number, line) in source.text.lines().enumerate() {
            let compares = before.iter().any(|it| line.contains(&format!("{it}\"worker\"")))
                || after.iter().any(|it| line.contains(&format!("\"worker\"{it}")));
            if compares || line.contains("\"auto%") || line.contains("like(\"auto") {
                wrong.push(format!("{}:{}: {}", source.name(), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn links_in_the_documents_have_targets() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    let mut links = 0;
    for source in files(&["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs"], "md") {
        for target in source.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            if !root.join(source.path.parent().unwrap()).join(path).exists() {
                wrong.push(format!("{}: {target}", source.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(links > 5, "the scan found only {links} links");
}

#[test]
fn the_readme_has_every_exit_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let codes = std::fs::read_to_string(root.join("src/cli/exit.rs")).unwrap();
    let codes: Vec<_> = codes
        .lines()
        .filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = "))
        .map(|(_, code)| code)
        .collect();
    assert_eq!(codes.len(), 12);
    for code in codes {
        assert!(readme.contains(&format!("| {code} |")), "README.md lacks exit code {code}");
    }
}
