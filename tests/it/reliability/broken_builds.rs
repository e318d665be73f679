//! Checks the broken builds that the tests must detect (`scripts/broken-builds`): their patches still apply,
//! name existing tests, and are listed in `docs/reliability.md`.

use std::path::{Path, PathBuf};
use std::process::Command;

fn patches() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let mut patches: Vec<PathBuf> =
        directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    patches.sort();
    patches
}

/// Returns the test and the description of what is broken: the first two lines of a patch.
fn head(patch: &Path) -> (String, String) {
    let text = std::fs::read_to_string(patch).unwrap();
    let mut lines = text.lines();
    let mut line = |kind: &str| lines.next().unwrap().strip_prefix(kind).expect(kind).to_owned();
    (line("test: "), line("broken: "))
}

#[test]
fn every_patch_applies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut failures = Vec::new();
    for patch in patches() {
        let check = Command::new("git").args(["apply", "--check"]).arg(&patch).current_dir(root).output();
        let check = check.unwrap();
        if !check.status.success() {
            failures.push(format!("{}: {}", patch.display(), String::from_utf8_lossy(&check.stderr)));
        }
    }
    assert!(
        failures.is_empty(),
        "these patches do not apply; create them again for the current code:\n{}",
        failures.join("\n")
    );
}

#[test]
fn every_patch_names_a_test_and_is_in_the_document() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let document = include_str!("../../../docs/reliability.md");
    let all = patches();
    assert!(all.len() >= 13, "{all:?}");
    for patch in all {
        let (test, broken) = head(&patch);
        assert!(document.contains(&format!("| {broken} |")), "docs/reliability.md has no row for: {broken}");
        let path = test.replace("::", "/");
        let exists = tests.join(format!("{path}.rs")).exists() || {
            let (module, name) = path.rsplit_once('/').unwrap();
            let text = std::fs::read_to_string(tests.join(format!("{module}.rs"))).unwrap();
            text.contains(&format!("async fn {name}"))
        };
        assert!(exists, "{}: there is no test {test}", patch.display());
    }
}
