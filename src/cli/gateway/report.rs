//! Renders an inspection for people: first the verdict and what to do, then the details.

use std::fmt::Display;

use crate::app::pluralize;
use crate::cli::{Failure, output, output::dash};
use crate::install::inspection::{ColumnFacts, Inspection, Level, Verdict};

/// The maximum number of shown rows of one finding; the JSON has all of them.
const MAX_ROWS_SHOWN: usize = 20;

pub(super) fn show(found: &Inspection) -> Result<(), Failure> {
    print_verdict(found)?;
    server(found)?;
    tables(found)?;
    columns(found)?;
    uses(found)?;
    data(found)?;
    print_migration(found)
}

fn print_heading(text: &str) -> Result<(), Failure> {
    output::print_line(&format!("\n{text}"))
}

fn print_verdict(found: &Inspection) -> Result<(), Failure> {
    output::print_line(match found.verdict {
        Verdict::Ready => "READY: there are no problems.",
        Verdict::ReadyWithNotes => "READY WITH NOTES: there are no problems; read these notes first.",
        Verdict::NotReady => "NOT READY: fix what is marked as a problem.",
    })?;
    for finding in &found.findings {
        let level = match finding.level {
            Level::Error => "problem",
            Level::Warning => "note",
        };
        output::print_line(&format!("\n  {level}: {}", finding.what))?;
        if !finding.rows.is_empty() {
            let more = finding.rows.len().saturating_sub(MAX_ROWS_SHOWN);
            let rows = finding.rows.iter().take(MAX_ROWS_SHOWN).cloned().collect::<Vec<_>>().join(", ");
            let more = if more > 0 { format!(", and {more} more (--output json)") } else { String::new() };
            output::print_line(&format!("  rows: {rows}{more}"))?;
        }
        output::print_line(&format!("  what to do: {}", finding.remedy))?;
    }
    Ok(())
}

/// Writes a heading, and names with their values.
fn pairs<K: Display>(text: &str, rows: impl IntoIterator<Item = (K, String)>) -> Result<(), Failure> {
    print_heading(text)?;
    output::pairs(rows)
}

fn server(found: &Inspection) -> Result<(), Failure> {
    let server = &found.server;
    let mode = server.strict.map(|strict| {
        let strict = if strict { "strict" } else { "not strict (hostmatch's own sessions are)" };
        format!("{strict}; {}", dash(server.sql_mode.as_deref()))
    });
    let offset = dash(server.utc_offset.as_deref());
    let characters = server.charset.as_ref().map(|it| format!("{it}, {}", dash(server.collation.as_deref())));
    let writes = server.read_only.as_ref().map_or("yes".into(), |why| format!("no: {why}"));
    let rows = [
        ("server", Some(format!("{} {}", server.product, server.version))),
        ("database", Some(server.database.clone())),
        ("user", server.user.clone()),
        ("characters", characters),
        ("SQL mode", mode),
        ("isolation", server.isolation.clone()),
        ("time zone", Some(format!("{}, now UTC{offset}", server.time_zone))),
        ("gateway.timezone", Some(server.gateway_timezone.clone())),
        ("accepts writes", Some(writes)),
    ];
    pairs("Server", rows.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

fn tables(found: &Inspection) -> Result<(), Failure> {
    print_heading("Tables")?;
    let rows = found.tables.iter().map(|table| {
        let rows = match table.rows {
            Some(rows) if rows.exact => rows.count.to_string(),
            Some(rows) => format!("about {}", rows.count),
            None => "not readable".to_owned(),
        };
        let keys = match (table.keys, table.key_limit) {
            (Some(keys), Some(limit)) => format!("{keys} of {limit}"),
            (keys, _) => dash(keys),
        };
        let triggers = match &table.triggers {
            None => "not visible to this user".to_owned(),
            Some(all) if all.is_empty() => "-".to_owned(),
            Some(all) => {
                let names = all.iter().map(|it| format!("{} ({} {})", it.name, it.timing, it.event));
                names.collect::<Vec<_>>().join(", ")
            }
        };
        [
            format!("  {}", table.name),
            table.of.to_owned(),
            rows,
            dash(table.engine.as_deref()),
            dash(table.collation.as_deref()),
            keys,
            triggers,
        ]
    });
    output::table(&["  TABLE", "OF", "ROWS", "ENGINE", "COLLATION", "KEYS", "TRIGGERS"], rows)
}

fn columns(found: &Inspection) -> Result<(), Failure> {
    print_heading("Columns of the gateway that hostmatch uses")?;
    let gateway = found.tables.iter().filter(|table| table.of == "gateway");
    let rows = gateway.flat_map(|table| {
        table.columns.iter().map(|ColumnFacts { column, used_for }| {
            [
                format!("  {}.{}", table.name, column.name),
                column.full_type.clone(),
                dash(column.collation.as_deref()),
                if column.nullable { "null" } else { "not null" }.to_owned(),
                dash(*used_for),
            ]
        })
    });
    output::table(&["  COLUMN", "TYPE", "COLLATION", "NULL", "FOR"], rows)?;
    if found.missing.is_empty() {
        return Ok(());
    }
    let missing = found.missing.iter().map(|one| {
        let required = if one.required { "required: " } else { "" };
        (one.what.clone(), format!("{required}{}", one.loss))
    });
    pairs("Missing", missing)
}

fn uses(found: &Inspection) -> Result<(), Failure> {
    let Some(uses) = &found.uses else { return Ok(()) };
    let active = match (uses.staff_active, uses.staff_deleted) {
        (Some(flag), Some(_)) => format!("{flag}, and not deleted (deleted_at)"),
        (Some(flag), None) => flag.to_owned(),
        (None, Some(_)) => "everybody who is not deleted (deleted_at)".to_owned(),
        (None, None) => "everybody".to_owned(),
    };
    let references = uses.booking_references.iter().map(|one| {
        let numbers = if one.numeric { " (numbers)" } else { "" };
        format!("{}{numbers}", one.name)
    });
    let updated_at = match &uses.updated_at {
        None => "not written".to_owned(),
        Some(at) if at.local => format!("{} as the gateway's local time, now {}", at.full_type, at.now),
        Some(at) => format!("{}, now {} (UTC)", at.full_type, at.now),
    };
    let rows = [
        ("staff are", format!("{} ids", uses.staff_id)),
        ("their names", uses.staff_name.join(" and ")),
        ("their e-mail", dash(uses.staff_email)),
        ("who is active", active),
        ("bookings", references.collect::<Vec<_>>().join(", then ")),
        ("updated_at", updated_at),
    ];
    pairs("What hostmatch will use", rows)
}

fn data(found: &Inspection) -> Result<(), Failure> {
    if found.data.is_empty() {
        return Ok(());
    }
    let rows = found.data.iter().map(|count| {
        let n = count.count.map_or_else(|| "?".to_owned(), |n| n.to_string());
        let why = count.not_counted.map(|why| format!(" (not counted: {why})")).unwrap_or_default();
        (format!("{n:>7}"), format!("{}{why}", count.meaning))
    });
    pairs("Rows, counted", rows)
}

fn print_migration(found: &Inspection) -> Result<(), Failure> {
    let migration = &found.migration.examination;
    print_heading("What `hostmatch migrate up` would do")?;
    if migration.pending.is_empty() && migration.adoptions.is_empty() {
        let done = migration.obstacles.is_empty() && found.uses.is_some();
        return output::print_line(if done { "  nothing: everything exists" } else { "  not known yet" });
    }
    for name in &migration.pending {
        output::print_line(&format!("  create {name}"))?;
    }
    for one in &migration.adoptions {
        output::print_line(&format!("  adopt {}", one.what))?;
    }
    let count = pluralize(migration.statements.len(), "statement", "statements");
    output::print_line(&format!("  in {count} (hostmatch migrate sql)"))?;
    if !found.migration.missing_privileges.is_empty() {
        let missing = found.migration.missing_privileges.join("; ");
        output::print_line(&format!("  this user may not do that: it lacks {missing}"))?;
    }
    Ok(())
}
