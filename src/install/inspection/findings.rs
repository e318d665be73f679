//! Turns facts about the gateway's database into findings: what an operator must fix or know.

use migration::MigrateError;
use migration::gateway::{Column, Columns};
use migration::names;
use serde::{Serialize, Serializer};

use super::{Basis, Inspection};
use crate::install::finding::{Code, Finding, Level};
use crate::store::too_old;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Ready,
    /// Nothing has to be fixed, but there are notes.
    ReadyWithNotes,
    NotReady,
}

impl Verdict {
    pub(super) fn of(findings: &[Finding]) -> Self {
        match findings {
            [] => Self::Ready,
            all if all.iter().any(|finding| finding.level == Level::Error) => Self::NotReady,
            _ => Self::ReadyWithNotes,
        }
    }
}

/// A finding in the output of `hostmatch gateway inspect`.
#[derive(Serialize)]
struct FindingView<'a> {
    kind: &'static str,
    level: &'static str,
    what: &'a str,
    rows: &'a [String],
    remedy: &'a str,
}

pub(super) fn serialize<S: Serializer>(findings: &[Finding], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(findings.iter().map(|Finding { code, level, what, rows, remedy, .. }| {
        FindingView {
            kind: match code {
                Code::DatabaseTooOld => "server_age",
                Code::DatabaseReadOnly => "read_only",
                Code::GatewayTablesMissing => "gateway_tables",
                Code::GatewayUnusable | Code::TimezoneUnknown => "unusable",
                Code::EngineUnsafe => "engine",
                Code::StaffKeyDiffers => "collation",
                Code::MigrationsHalfway => "halfway",
                Code::MigrationsNewer => "newer",
                Code::MigrationsBlocked => "obstacle",
                Code::SequenceLags => "sequence",
                Code::TimezoneWrong => "clock",
                other => other.as_str(),
            },
            level: if *level == Level::Error { "problem" } else { "note" },
            what,
            rows,
            remedy,
        }
    }))
}

/// Returns the findings, problems first.
pub(super) fn derive_findings(found: &Inspection, basis: &Basis) -> Vec<Finding> {
    let mut builder = FindingsBuilder { found, basis, findings: Vec::new() };
    builder.check_server();
    builder.check_gateway();
    builder.check_migration();
    builder.check_triggers();
    builder.check_time_zone();
    for count in &found.data {
        if let (Some(n @ 1..), Some(remedy)) = (count.count, &count.remedy) {
            builder.add(Code::Rows, format!("{n} {}", count.meaning)).remedy.clone_from(remedy);
        }
    }
    builder.findings.sort_by_key(|finding| finding.level);
    builder.findings
}

const DRIFT_REMEDY: &str = "can this user see it? MariaDB and MySQL hide a table on which nothing is \
                       granted; hostmatch gateway grants prints the grants. Only if an administrator does \
                       not see it either: restore it from a backup; or, to create it again, empty, drop what \
                       is left of it, delete the row from hostmatch_migrations, and run hostmatch migrate up";

/// More minutes ahead than this cannot be explained by clocks that differ slightly.
const MAX_MINUTES_AHEAD: i64 = 5;

struct FindingsBuilder<'a> {
    found: &'a Inspection,
    basis: &'a Basis,
    findings: Vec<Finding>,
}

impl FindingsBuilder<'_> {
    /// Adds a finding with the general remedy of its code, which the caller may replace.
    fn add(&mut self, code: Code, what: impl Into<String>) -> &mut Finding {
        self.findings.push_mut(Finding::new(code, &self.found.server.database, what))
    }

    fn add_with(&mut self, code: Code, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(code, what).remedy = remedy.into();
    }

    fn check_server(&mut self) {
        let server = &self.found.server;
        let is_mysql = matches!(server.product.as_str(), "MariaDB" | "MySQL");
        if let Some(why) = too_old(&server.version).filter(|_| is_mysql) {
            self.add(Code::DatabaseTooOld, why);
        }
        if let Some(why) = &server.read_only {
            let remedy = "point database.url to the primary; for an inspection this server is sufficient";
            self.add_with(Code::DatabaseReadOnly, format!("the server accepts no writes: {why}"), remedy);
        }
    }

    fn check_gateway(&mut self) {
        let problems = self.basis.columns.problems().join("; ");
        if !problems.is_empty() {
            let what = format!("the gateway's tables do not meet the requirements: {problems}");
            let remedy = "is database.url the gateway's database, and may this user read the tables (hostmatch gateway \
                          grants --role inspect)? For a new installation without a gateway: hostmatch migrate baseline";
            self.add_with(Code::GatewayTablesMissing, what, remedy);
        }
        if let Some(why) = &self.basis.unusable {
            let is_zone = why.contains("gateway.timezone");
            self.add(if is_zone { Code::TimezoneUnknown } else { Code::GatewayUnusable }, why);
        }
        for table in self.found.tables.iter().filter(|table| table.of == "gateway") {
            if let Some(engine) = table.engine.as_ref().filter(|engine| *engine != "InnoDB") {
                let name = &table.name;
                let what = format!(
                    "the table {name} has the engine {engine}, without transactions and foreign keys"
                );
                let remedy = format!("ALTER TABLE {name} ENGINE=InnoDB, at a quiet hour");
                self.add_with(Code::EngineUnsafe, what, remedy);
            }
        }
        self.check_collations(&self.basis.columns);
    }

    /// Checks that columns that refer to staff have the type of `staff.id`. Adoption ensures this for our own
    /// columns.
    fn check_collations(&mut self, columns: &Columns) {
        let Some(key) = columns.get("staff", "id") else { return };
        let tables = ["appointments", names::MAPPINGS, names::AUDITS, names::ASSIGNMENTS];
        let includes_ours = self.found.migration.examination.adoptions.is_empty();
        let shape = |column: &Column| (column.collation.clone(), column.key_kind(columns.backend()));
        let shown = |column: &Column| {
            let collation = column.collation.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
            format!("{}{collation}", column.full_type)
        };
        for table in &tables[..if includes_ours { 4 } else { 1 }] {
            let column = columns.get(table, "staff_id").filter(|column| shape(column) != shape(key));
            if let Some(column) = column {
                let what = format!(
                    "{table}.staff_id is {}, but staff.id is {}: no foreign key can connect them, and \
                     comparing them may be refused",
                    shown(column),
                    shown(key)
                );
                self.add(Code::StaffKeyDiffers, what);
            }
        }
    }

    fn check_migration(&mut self) {
        let examination = &self.found.migration.examination;
        for what in &self.basis.drift {
            let what = format!("a migration is recorded as applied, but its result is missing: {what}");
            self.add_with(Code::MigrationsHalfway, what, DRIFT_REMEDY);
        }
        match &self.basis.unexamined {
            Some(why @ MigrateError::Newer { .. }) => _ = self.add(Code::MigrationsNewer, why.to_string()),
            Some(why) => {
                let remedy = "see docs/moving-in.md, and print the grants again after the migration";
                self.add_with(Code::MigrationsBlocked, why.to_string(), remedy);
            }
            None => {}
        }
        for one in &examination.lagging {
            self.add(Code::SequenceLags, one.to_string());
        }
        // The problems with the gateway's tables have already been reported.
        let known = self.basis.columns.problems();
        for one in examination.obstacles.iter().filter(|one| !known.contains(&one.what)) {
            let finding = self.add(Code::MigrationsBlocked, &one.what);
            finding.rows.clone_from(&one.rows);
            finding.remedy.clone_from(&one.remedy);
        }
        for one in &examination.adoptions {
            let how = match one.differences.len() {
                0 => "with our schema".to_owned(),
                _ => format!("differing from ours: {}", one.differences.join("; ")),
            };
            self.add(Code::Adoption, format!("{} was created by another program, {how}", one.what));
        }
        for what in &examination.notes {
            self.add(Code::Migrating, what);
        }
        let is_full = self.found.tables.iter().any(|table| {
            table.name == "appointments"
                && table.keys >= table.key_limit
                && table.keys.and(table.key_limit).is_some()
        });
        if is_full && !examination.notes.iter().any(|what| what.contains("64")) {
            let what = "appointments has as many indexes as MySQL allows (64), so \
                        appointments.calcom_host_id cannot get one";
            let remedy = "nothing has to be done: hostmatch looks hosts up in its own table; or drop \
                          an unused index";
            self.add_with(Code::Migrating, what, remedy);
        }
    }

    /// Checks the triggers that run when `appointments` is written.
    fn check_triggers(&mut self) {
        let Some(table) = self.found.tables.iter().find(|table| table.name == "appointments") else { return };
        let Some(triggers) = &table.triggers else {
            let what = "this user may not see the triggers of appointments";
            let remedy = "GRANT TRIGGER on it for the time of the inspection, or ask a user who may see them";
            return self.add_with(Code::Trigger, what, remedy);
        };
        for trigger in triggers.iter().filter(|trigger| trigger.event.contains("UPDATE")) {
            let (name, timing) = (&trigger.name, &trigger.timing);
            let what = format!(
                "the trigger {name} runs {timing} every UPDATE of appointments, including hostmatch's"
            );
            let finding = self.add(Code::Trigger, what);
            if trigger.rights == "writer" {
                finding.remedy = format!(
                    "it runs with the privileges of hostmatch's user: make its function SECURITY DEFINER, or grant that \
                     user what it needs; {}",
                    finding.remedy
                );
            }
        }
    }

    fn check_time_zone(&mut self) {
        let Some(at) = self.found.uses.as_ref().and_then(|uses| uses.updated_at.as_ref()) else { return };
        if let Some(minutes) = at.ahead_minutes.filter(|minutes| *minutes > MAX_MINUTES_AHEAD) {
            let what = format!(
                "the newest appointments.updated_at is {minutes} minutes ahead of what hostmatch would write now ({})",
                at.now
            );
            self.add(Code::TimezoneWrong, what).remedy = format!(
                "gateway.timezone is {:?}: set it to the zone in which the gateway writes",
                self.found.server.gateway_timezone
            );
        }
    }
}
