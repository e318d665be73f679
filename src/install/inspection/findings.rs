//! From facts to what a person has to put right, or to know.

use migration::MigrateError;
use migration::gateway::Columns;
use migration::names;
use serde::Serialize;

use super::{Basis, Inspection, Table};
use crate::store::too_old;

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing stands in the way.
    Ready,
    /// Nothing stands in the way, and there is something to know.
    ReadyWithNotes,
    /// Something has to be put right first.
    NotReady,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It has to be put right first.
    Problem,
    /// To be known.
    Note,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The server is too old.
    ServerAge,
    /// It takes no writes.
    ReadOnly,
    /// Tables or columns of the gateway's are not there.
    GatewayTables,
    /// A column's type, or the time zone, cannot be used.
    Unusable,
    /// A table's engine has no transactions.
    Engine,
    /// A column that refers to staff has another type or collation.
    Collation,
    /// A migration is recorded, and its work is not there.
    Halfway,
    /// A newer version has migrated the database so that this one stops there.
    Newer,
    /// Something stands in the way of migrating.
    Obstacle,
    /// A sequence lags behind the ids that are there.
    Sequence,
    /// Tables of ours that somebody else made.
    Adoption,
    /// How migrating is different here.
    Migrating,
    /// Triggers.
    Trigger,
    /// The newest appointments are ahead of the clock.
    Clock,
    /// What the gateway's rows hold in store.
    Rows,
}

/// One thing to put right or to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub kind: Kind,
    /// How much it matters.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// The keys of the rows that are meant; empty where it is not about rows.
    pub rows: Vec<String>,
    /// What to do about it.
    pub remedy: String,
}

impl Verdict {
    pub(super) fn of(findings: &[Finding]) -> Self {
        if findings.iter().any(|finding| finding.level == Level::Problem) {
            Self::NotReady
        } else if findings.is_empty() {
            Self::Ready
        } else {
            Self::ReadyWithNotes
        }
    }
}

fn problem(kind: Kind, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { kind, level: Level::Problem, what: what.into(), rows: Vec::new(), remedy: remedy.into() }
}

fn note(kind: Kind, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { level: Level::Note, ..problem(kind, what, remedy) }
}

/// Problems first.
pub(super) fn judge(found: &Inspection, basis: &Basis) -> Vec<Finding> {
    let mut findings = Vec::new();
    server(found, &mut findings);
    gateway(found, basis, &mut findings);
    migrating(found, basis, &mut findings);
    writers(found, &mut findings);
    time(found, &mut findings);
    for count in &found.data {
        if let (Some(n @ 1..), Some(remedy)) = (count.count, count.remedy) {
            findings.push(note(Kind::Rows, format!("{n} {}", count.meaning), remedy));
        }
    }
    findings.sort_by_key(|finding| finding.level == Level::Note);
    findings
}

fn server(found: &Inspection, findings: &mut Vec<Finding>) {
    findings.extend(age(found));
    if let Some(why) = &found.server.read_only {
        findings.push(problem(
            Kind::ReadOnly,
            format!("the server takes no writes: {why}"),
            "let database.url lead to the primary; for looking this one will do",
        ));
    }
}

fn age(found: &Inspection) -> Option<Finding> {
    let is_mysql = matches!(found.server.product, "MariaDB" | "MySQL");
    let why = too_old(&found.server.version).filter(|_| is_mysql)?;
    Some(problem(Kind::ServerAge, why, "upgrade the database server before hostmatch is to work on it"))
}

fn gateway(found: &Inspection, basis: &Basis, findings: &mut Vec<Finding>) {
    let problems = basis.columns.problems();
    if !problems.is_empty() {
        findings.push(problem(
            Kind::GatewayTables,
            format!("the gateway's tables are not as hostmatch needs them: {}", problems.join("; ")),
            "is database.url the gateway's database, and may this user read the tables (hostmatch gateway grants \
             --role inspect)? For a new installation without a gateway: hostmatch migrate baseline",
        ));
    }
    if let Some(why) = &basis.unusable {
        let remedy =
            "see docs/configuration.md for gateway.timezone; a column of another type has to be changed";
        findings.push(problem(Kind::Unusable, why.clone(), remedy));
    }
    for table in found.tables.iter().filter(|table| table.of == "gateway") {
        if let Some(engine) = table.engine.as_ref().filter(|engine| *engine != "InnoDB") {
            findings.push(problem(
                Kind::Engine,
                format!(
                    "the table {} has the engine {engine}, without transactions and foreign keys",
                    table.name
                ),
                format!("ALTER TABLE {} ENGINE=InnoDB, at a quiet hour", table.name),
            ));
        }
    }
    findings.extend(collations(&basis.columns, found.migration.examination.adoptions.is_empty()));
}

/// Columns that refer to staff have to be of the very type of `staff.id`. Adoption sees to ours.
fn collations(columns: &Columns, with_ours: bool) -> Vec<Finding> {
    let Some(key) = columns.get("staff", "id") else { return Vec::new() };
    let tables = ["appointments", names::MAPPINGS, names::AUDITS, names::ASSIGNMENTS];
    let tables = if with_ours { &tables[..] } else { &tables[..1] };
    let other = tables.iter().filter_map(|table| columns.get(table, "staff_id")).filter(|column| {
        column.collation != key.collation
            || column.key_kind(columns.backend()) != key.key_kind(columns.backend())
    });
    other
        .map(|column| {
            let shown = |column: &migration::gateway::Column| {
                let collation = column.collation.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
                format!("{}{collation}", column.full_type)
            };
            note(
                Kind::Collation,
                format!(
                    "{}.staff_id is {}, and staff.id is {}: no foreign key can stand between them, and comparing \
                     them may be refused",
                    column.table,
                    shown(column),
                    shown(key)
                ),
                "give the column the type and the collation of staff.id",
            )
        })
        .collect()
}

fn migrating(found: &Inspection, basis: &Basis, findings: &mut Vec<Finding>) {
    for what in &basis.drift {
        findings.push(problem(
            Kind::Halfway,
            format!("a migration is recorded as applied, and its work is not there: {what}"),
            "may this user see it? MariaDB and MySQL hide a table to which nothing is granted: hostmatch gateway \
             grants prints what is to be granted. Only when an administrator does not see it either: put it back \
             from a backup; or, to have it made anew and empty, drop what is left of it, delete the row from \
             hostmatch_migrations, and run hostmatch migrate up",
        ));
    }
    if let Some(why) = &basis.unexamined {
        let kind = if matches!(why, MigrateError::Newer { .. }) { Kind::Newer } else { Kind::Obstacle };
        findings.push(problem(
            kind,
            why.to_string(),
            "see docs/moving-in.md, and print the grants again once it is migrated",
        ));
    }
    for one in &found.migration.examination.lagging {
        findings.push(problem(Kind::Sequence, one.to_string(), "hostmatch migrate up sets it"));
    }
    // What the gateway's tables lack has been told already.
    let told = basis.columns.problems();
    for one in found.migration.examination.obstacles.iter().filter(|one| !told.contains(&one.what)) {
        findings.push(Finding {
            rows: one.rows.clone(),
            ..problem(Kind::Obstacle, one.what.clone(), one.remedy.clone())
        });
    }
    for one in &found.migration.examination.adoptions {
        let how = match one.differences.len() {
            0 => "as ours".to_owned(),
            _ => format!("differing from ours: {}", one.differences.join("; ")),
        };
        findings.push(note(
            Kind::Adoption,
            format!("{} is there already, made by somebody else, {how}", one.what),
            "hostmatch migrate up --adopt brings it to our shape and keeps every row",
        ));
    }
    for what in &found.migration.examination.notes {
        findings.push(note(Kind::Migrating, what.clone(), "nothing has to be done"));
    }
    let full = |table: &&Table| {
        table.name == "appointments" && table.keys >= table.key_limit && table.keys.is_some()
    };
    let told = found.migration.examination.notes.iter().any(|what| what.contains("64"));
    if found.tables.iter().any(|table| full(&table) && table.key_limit.is_some()) && !told {
        findings.push(note(
            Kind::Migrating,
            "appointments has as many indexes as MySQL allows (64), so that appointments.calcom_host_id cannot \
             get one",
            "nothing has to be done: hostmatch looks hosts up in its own table; or drop an index that nobody uses",
        ));
    }
}

/// Who else is about when `appointments` is written to.
fn writers(found: &Inspection, findings: &mut Vec<Finding>) {
    let Some(table) = found.tables.iter().find(|table| table.name == "appointments") else { return };
    let Some(triggers) = &table.triggers else {
        findings.push(note(
            Kind::Trigger,
            "this user may not see the triggers of appointments",
            "GRANT TRIGGER on it for the time of looking, or ask somebody who may",
        ));
        return;
    };
    for trigger in triggers.iter().filter(|trigger| trigger.event.contains("UPDATE")) {
        let remedy = match trigger.rights {
            "writer" => {
                "it runs with the rights of hostmatch's user: make its function SECURITY DEFINER, or grant that \
                 user what it needs; see that it is quick, and right for a change of staff_id by a program"
            }
            _ => "see that it is quick, and right for a change of staff_id by a program",
        };
        let (name, timing) = (&trigger.name, &trigger.timing);
        let what = format!("the trigger {name} runs {timing} every UPDATE of appointments, ours too");
        findings.push(note(Kind::Trigger, what, remedy));
    }
}

/// Beyond this the newest appointments cannot be clocks that differ a little.
const AHEAD: i64 = 5;

fn time(found: &Inspection, findings: &mut Vec<Finding>) {
    let Some(updated_at) = found.uses.as_ref().and_then(|uses| uses.updated_at.as_ref()) else { return };
    if let Some(minutes) = updated_at.ahead_minutes.filter(|minutes| *minutes > AHEAD) {
        findings.push(note(
            Kind::Clock,
            format!(
                "the newest appointments.updated_at is {minutes} minutes ahead of what hostmatch would write now \
                 ({})",
                updated_at.now
            ),
            format!(
                "gateway.timezone is {:?}: set it to the zone in which the gateway writes",
                found.server.gateway_timezone
            ),
        ));
    }
}
