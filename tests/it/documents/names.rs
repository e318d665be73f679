//! Checks that no item has a name that CONTRIBUTING.md lists as one to avoid.

use crate::documents::table;
use crate::documents::tidy::{Source, files};

/// Words to avoid in names, and what to use instead. A word with `=` is avoided as a whole name only, any other
/// word also as a part of a name.
const AVOIDED: [(&[&str], &str); 20] = [
    (&["tell", "tells", "told", "telling"], "`render`, `describe`, `report`, `…View`"),
    (&["look", "looks", "looked"], "`read`, `find`, `inspect`, `check`, `Lookup`"),
    (&["rehearsal", "foretold", "foretell", "foresee"], "`DryRun`, `Prediction`, `predict`"),
    (&["noted", "=part_of", "=line"], "what it is: `MatchStats`, `with_role`, `InboxView`"),
    (&["twins", "twin"], "`secret_files`"),
    (&["forth", "halfway", "=back"], "`up`, `down`, `drift`, `is_interrupted`"),
    (&["standing", "pace", "fitness"], "`backlog`, `throughput`, `server_checks`"),
    (&["presence", "takes_leave"], "`heartbeat`, `deregister`"),
    (&["=went_well", "collided", "=left_over"], "`succeeded`, `conflicted`, `requeue`"),
    (&["slot", "give_way"], "`InFlight`, `set_nowait`"),
    (&["pieces", "padded", "=cells"], "`chunk_rows`, `pad_in_list`, `RowReader`, `columns`"),
    (
        &["wish", "deed", "desk", "manner", "=did", "=along"],
        "`Command`, `Effect`, `AppContext`, `CommonArgs`",
    ),
    (&["patient", "patience"], "`Target`, `…_TIMEOUT`"),
    (&["bury", "buried", "to_the_dead"], "`mark_dead_lettered`, `move_to_dead_letters`"),
    (&["until_back", "=unless_closed"], "`wait_until_available`, `ignore_unless_closed`"),
    (&["=most", "together", "glance", "last_words"], "`MAX_…`, `…_CHUNK`, `POLL_INTERVAL`, `DRAIN_GRACE`"),
    (&["=in_time", "at_each_look"], "`with_deadline`, `on_scrape`"),
    (&["rig", "keeper", "holder"], "`…Fixture`, `ConnectionManager`, `StaffSetBy`"),
    (&["rights", "unfit", "played"], "`privileges`, `ExceedsLimit`, `PostedBooking`"),
    (
        &["given_back", "taken_back", "complaints", "neighbours"],
        "`restored`, `undone`, `unexpected_log_lines`, `beside_gateway`",
    ),
];

/// Converts any case to lower-case words between underscores: `InboxView` becomes `_inbox_view_`.
fn underscored(name: &str) -> String {
    let mut words = String::from("_");
    let mut before = '_';
    for letter in name.chars() {
        if letter.is_uppercase() && before.is_lowercase() {
            words.push('_');
        }
        words.extend(letter.to_lowercase());
        before = letter;
    }
    words.push('_');
    words
}

fn is_avoided(name: &str, avoided: &str) -> bool {
    match avoided.strip_prefix('=') {
        Some(whole) => underscored(name) == format!("_{whole}_"),
        None => underscored(name).contains(&format!("_{avoided}_")),
    }
}

/// Returns the names that a file declares, with their line numbers.
fn items(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    const DECLARES: [&str; 8] = ["fn", "struct", "enum", "const", "static", "mod", "type", "trait"];
    source.code().enumerate().flat_map(|(number, line)| {
        let mut words =
            line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        let mut names = Vec::new();
        while let Some(word) = words.next() {
            if DECLARES.contains(&word)
                && let Some(name) = words.clone().next()
            {
                names.push((number + 1, name));
            }
        }
        names
    })
}

#[test]
fn no_item_has_a_name_to_avoid() {
    let mut wrong = Vec::new();
    for source in files(&["src", "migration/src", "tests", "benches", "fuzz"], "rs") {
        for (line, name) in items(&source) {
            for (avoided, instead) in AVOIDED {
                if avoided.iter().any(|avoided| is_avoided(name, avoided)) {
                    wrong.push(format!("{}:{line}: {name}: use {instead}", source.path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_names_to_avoid_equal_those_of_the_document() {
    let document = &files(&["CONTRIBUTING.md"], "md")[0].text;
    let rows = AVOIDED.map(|(avoided, instead)| {
        let avoided = avoided.iter().map(|word| format!("`{}`", word.trim_start_matches('=')));
        vec![avoided.collect::<Vec<_>>().join(", "), instead.to_owned()]
    });
    let table = table(&["avoid", "say"], rows);
    assert!(document.contains(&table), "CONTRIBUTING.md lacks this:\n\n{table}");
}

#[test]
fn names_are_compared_word_by_word() {
    assert!(is_avoided("MOST", "=most") && !is_avoided("at_most", "=most"));
    assert!(is_avoided("ToldRows", "told") && is_avoided("why_it_was_told", "told"));
    assert!(!is_avoided("Lookup", "look") && is_avoided("give_way_to", "give_way"));
    let source = Source {
        path: "x.rs".into(),
        text: "pub(crate) const fn started() {}\n// struct Look\nimpl X { type Slot = u8; }".to_owned(),
    };
    let names: Vec<_> = items(&source).map(|(line, name)| format!("{line} {name}")).collect();
    assert_eq!(names, ["1 fn", "1 started", "3 Slot"]);
}
