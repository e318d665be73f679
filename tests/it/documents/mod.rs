//! Checks that the closed lists in the documentation equal those in the code, and that every command and
//! every key of JSON output is described.

mod column_names;
mod gateway;
mod moving_in;
mod names;
mod operations;
mod threat_model;
mod tidy;
mod walk;

use std::path::Path;

use hostmatch::config::{Overrides, load_from};
use hostmatch::event::{EVENT_TYPES, EventKind, IGNORED_TRIGGERS, Shape};
use hostmatch::install::doctor::{Area, Code};
use hostmatch::matching::{
    AuditAction, FoundBy, InboxState, MappingSource, Observed, Outcome, Reason, Review,
};
use hostmatch::store::{
    HostAction, InboxKind, ItemState, LetterState, RepairScope, RepairState, ReplayItemState, ReplayState,
};
use hostmatch::telemetry::metrics::{Series, Values};
use hostmatch::{edge, queue, telemetry, worker};
use strum::VariantArray;

/// Renders a Markdown table.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    let rows: String = rows.into_iter().map(|row| line(&row)).collect();
    line(&head) + &rule + &rows
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn event_types(named_by: Shape) -> String {
    let rows = EVENT_TYPES.iter().filter(|known| known.named_by == named_by).map(|known| {
        let does = match known.kind {
            EventKind::Assigns => "may assign",
            EventKind::Records => "is recorded",
        };
        vec![code(known.name), known.when.to_owned(), does.to_owned()]
    });
    table(&["type", "when", "what it does"], rows)
}

fn shapes() -> String {
    let rows = Shape::VARIANTS.iter().map(|shape| {
        let [recognised_by, event_in] = shape.description();
        vec![code(shape.as_str()), recognised_by.to_owned(), event_in.to_owned()]
    });
    table(&["shape", "recognised by", "the event is in"], rows)
}

fn duration(delay: std::time::Duration) -> String {
    match delay.as_secs() {
        seconds if seconds >= 3600 && seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

fn retry_schedule() -> String {
    let config = load_from(None, std::iter::empty(), &Overrides::default()).unwrap().config;
    let mut waited = std::time::Duration::ZERO;
    let rows = config.queue.retry_delays.iter().enumerate().map(|(number, delay)| {
        waited += *delay;
        let queue = format!("{}.bookings.retry.{}", config.queue.prefix, delay.as_millis());
        vec![(number + 2).to_string(), duration(*delay), format!("{}s", waited.as_secs()), code(&queue)]
    });
    table(&["attempt", "after", "since the first", "waits in"], rows)
}

fn outcomes() -> String {
    let rows = Outcome::VARIANTS.iter().map(|it| vec![code(it.as_str()), it.meaning().to_owned()]);
    table(&["outcome", "when"], rows)
}

fn reasons() -> String {
    let rows = Reason::VARIANTS
        .iter()
        .map(|it| vec![code(it.as_str()), it.meaning().to_owned(), it.remedy().to_owned()]);
    table(&["reason", "when", "what to do"], rows)
}

fn refusals() -> String {
    let rows = hostmatch::contract::problem::ALL;
    table(
        &["status", "`type`", "when"],
        rows.map(|kind| vec![kind.status.to_string(), code(&kind.urn()), kind.when.to_owned()]),
    )
}

fn findings(area: Area) -> String {
    let codes = Code::ALL.iter().filter(|code| code.area() == area);
    table(
        &["code", "level", "when", "what to do"],
        codes.map(|it| {
            vec![
                code(it.as_str()),
                it.level().as_str().to_owned(),
                it.when().to_owned(),
                it.remedy().to_owned(),
            ]
        }),
    )
}

fn metrics() -> String {
    let labels = |series: &Series| {
        let label = |(name, values): &(&str, Values)| {
            let values = match values {
                Values::Closed(values) => {
                    values().iter().map(|value| code(value)).collect::<Vec<_>>().join(", ")
                }
                Values::Described(text) => (*text).to_owned(),
            };
            format!("{}: {values}", code(name))
        };
        series.labels.iter().map(label).collect::<Vec<_>>().join("; ")
    };
    let row = |role: &'static str| {
        move |series: &Series| {
            let kind = series.kind.as_str().to_owned();
            vec![code(series.name), kind, labels(series), series.help.to_owned(), role.to_owned()]
        }
    };
    let both = [telemetry::metrics::BUILD].into_iter().chain(queue::metrics::SERIES);
    let both = both.chain(telemetry::process::SERIES).collect::<Vec<_>>();
    let rows = both.iter().map(row("both")).chain(edge::SERIES.iter().map(row("edge")));
    let worker = worker::SERIES.concat();
    table(&["name", "type", "labels", "meaning", "role"], rows.chain(worker.iter().map(row("worker"))))
}

fn read_file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_closed_lists_in_the_documents_equal_those_of_the_code() {
    let mut wrong = String::new();
    let areas = Area::ALL.map(|area| format!("doctor {}", area.as_str()));
    let doctor =
        areas.iter().zip(Area::ALL).map(|(name, area)| ("docs/doctor.md", name.as_str(), findings(area)));
    for (path, name, expected) in [
        ("docs/message-format.md", "shapes", shapes()),
        ("docs/message-format.md", "event types of the gateway", event_types(Shape::Native)),
        ("docs/message-format.md", "triggers of Cal.com", event_types(Shape::Calcom)),
        ("docs/message-format.md", "ignored triggers of Cal.com", IGNORED_TRIGGERS.map(code).join(", ")),
        ("docs/delivery.md", "outcomes", outcomes()),
        ("docs/delivery.md", "reasons", reasons()),
        ("docs/delivery.md", "refusals", refusals()),
        ("docs/delivery.md", "retry schedule", retry_schedule()),
        ("docs/metrics.md", "metrics", metrics()),
    ]
    .into_iter()
    .chain(doctor)
    {
        let (begin, end) = (format!("<!-- made from code: {name} -->\n"), "<!-- end -->");
        let text = read_file(path);
        let found =
            text.split_once(&begin).and_then(|(_, rest)| rest.split_once(end)).map(|(inside, _)| inside);
        if found.map(str::trim) != Some(expected.trim()) {
            wrong += &format!("\n{path}: replace the list by this:\n\n{begin}\n{expected}\n{end}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Returns the values of a closed list.
fn list_values<T: VariantArray>() -> Vec<&'static str>
where
    &'static str: From<&'static T>,
{
    T::VARIANTS.iter().map(<&'static str>::from).collect()
}

#[test]
fn the_values_of_closed_lists_are_described() {
    let text = read_file("docs/commands.md");
    let lists = [
        list_values::<MappingSource>(),
        list_values::<AuditAction>(),
        list_values::<InboxKind>(),
        list_values::<InboxState>(),
        list_values::<HostAction>(),
        list_values::<LetterState>(),
        list_values::<ReplayState>(),
        list_values::<ReplayItemState>(),
        list_values::<RepairScope>(),
        list_values::<RepairState>(),
        list_values::<ItemState>(),
        list_values::<FoundBy>(),
    ];
    let values = lists.concat();
    let missing: Vec<_> = values.iter().filter(|word| !text.contains(&code(word))).collect();
    assert!(missing.is_empty(), "docs/commands.md lacks {missing:?}");
}

#[test]
fn closed_lists_have_the_same_values_in_json() {
    fn assert_same_in_json<T: VariantArray + serde::Serialize>()
    where
        &'static str: From<&'static T>,
    {
        for value in T::VARIANTS {
            let word: &str = value.into();
            assert_eq!(serde_json::to_value(value).unwrap(), word);
        }
    }
    assert_same_in_json::<Outcome>();
    assert_same_in_json::<Reason>();
    assert_same_in_json::<Review>();
    assert_same_in_json::<Observed>();
    assert_same_in_json::<InboxState>();
    assert_same_in_json::<InboxKind>();
    assert_same_in_json::<LetterState>();
    assert_same_in_json::<RepairScope>();
    assert_same_in_json::<RepairState>();
    assert_same_in_json::<ItemState>();
}

#[test]
fn every_command_is_described() {
    use clap::CommandFactory as _;
    let text = read_file("docs/commands.md");
    let mut open: Vec<(String, clap::Command)> = vec![("hostmatch".into(), hostmatch::cli::Cli::command())];
    let mut missing = Vec::new();
    while let Some((name, command)) = open.pop() {
        let below: Vec<_> = command.get_subcommands().cloned().collect();
        if below.is_empty() && !text.contains(&format!("`{name}")) {
            missing.push(name.clone());
        }
        open.extend(below.into_iter().map(|one| (format!("{name} {}", one.get_name()), one)));
    }
    assert!(missing.is_empty(), "docs/commands.md lacks {missing:?}");
}
