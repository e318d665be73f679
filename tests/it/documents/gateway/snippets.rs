//! The PHP blocks in docs/gateway.md, each named by its second line.

use std::collections::BTreeSet;

use super::php::Php;

/// A PHP block of the document.
pub(super) struct Snippet {
    /// The path of the file in an application.
    pub(super) path: String,
    pub(super) text: String,
}

/// Returns all snippets, in the order of the document.
pub(super) fn all() -> Vec<Snippet> {
    let document = document();
    let blocks = document.split("```php\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let named = |text: &str| {
        let comment = text.lines().nth(1).and_then(|line| line.strip_prefix("// "));
        let path = comment.unwrap_or_else(|| panic!("a block has no name: {text}")).to_owned();
        Snippet { path, text: text.to_owned() }
    };
    blocks.map(named).collect()
}

/// Returns the shell commands of the section with this name.
pub(super) fn commands(section: &str) -> Vec<String> {
    let document = document();
    let section =
        document.split("\n## ").find_map(|text| text.strip_prefix(section)).expect("no such section");
    let blocks = section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

fn document() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/gateway.md")).unwrap()
}

/// The paths of all snippets, which the test checks, and the modules that use each, for readers only.
const TESTED: [(&str, &str); 20] = [
    ("event.php", "all modules that publish"),
    ("post.php", "ways_to_publish, ten_minutes"),
    ("app/Hostmatch/NotPublished.php", "publisher"),
    ("app/Hostmatch/Edge.php", "ways_to_publish, outbox"),
    ("edge.php", "ways_to_publish"),
    ("app/Hostmatch/Publisher.php", "publisher, broker_killed"),
    ("app/Hostmatch/Connect.php", "publisher"),
    ("publish.php", "ways_to_publish, broker_killed, ten_minutes"),
    ("database/migrations/2026_03_01_000000_create_hostmatch_outbox.php", "outbox"),
    ("app/Hostmatch/Outbox.php", "outbox"),
    ("book.php", "outbox"),
    ("config/queue.php", "ways_to_publish"),
    ("push.php", "ways_to_publish"),
    ("push-raw.php", "ways_to_publish"),
    ("cloudevent.php", "ways_to_publish"),
    ("app/Models/CalcomHostMapping.php", "models"),
    ("app/Models/CalcomHostMappingAudit.php", "models"),
    ("app/Models/BelongsToInCompany.php", "models"),
    ("app/Models/HasCalcomHost.php", "models"),
    ("app/Models/IsCalcomHost.php", "models"),
];

#[tokio::test]
async fn every_block_of_the_document_is_php_and_has_a_test() {
    let snippets = all();
    let paths: BTreeSet<&str> = snippets.iter().map(|snippet| snippet.path.as_str()).collect();
    assert_eq!(paths.len(), snippets.len(), "two blocks have the same name");
    assert_eq!(paths, TESTED.map(|(path, _)| path).into());
    let Some(php) = Php::application("hostmatch.events") else { return };
    for snippet in snippets {
        let output = std::process::Command::new("php").arg("-l").arg(php.home().join(&snippet.path)).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}: {}", snippet.path, crate::support::program::stdout(&output));
    }
}
