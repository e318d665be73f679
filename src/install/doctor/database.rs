//! The gateway's database: reachable, migrated, usable, and quick.

use crate::config::{Config, Mode};
use crate::install::inspection::{Inspection, Kind, inspect_setup};
use crate::install::privileges::missing_rights;
use crate::install::server_checks::{clock_ahead, lacking_indexes, room};
use crate::store::{self, Database, GatewaySchema, StoreError};

use super::Report;
use super::code::Code;

/// Clocks that are so many ms apart are not kept.
const SKEW_MS: i64 = 2_000;
/// Prepared statements that a connection may keep on the server.
const STATEMENTS: i64 = 256;
const SETUP: [Code; 14] = [
    Code::DatabaseTooOld,
    Code::DatabaseReadOnly,
    Code::GatewayTablesMissing,
    Code::GatewayUnusable,
    Code::TimezoneUnknown,
    Code::TimezoneWrong,
    Code::EngineUnsafe,
    Code::StaffKeyDiffers,
    Code::StaffEmailHidden,
    Code::MigrationsPending,
    Code::MigrationsNewer,
    Code::SequenceLags,
    Code::MigrationsHalfway,
    Code::MigrationsBlocked,
];

/// Looks.
pub(super) async fn look(config: &Config, report: &mut Report) {
    report.looked(&[Code::DatabaseUnreachable]);
    let database = match Database::connect_to_look(&config.database).await {
        Ok(database) => database,
        Err(error) => return unreachable(config, &error, report),
    };
    // Each part tells what it can: what another one cannot read must not hide it.
    if let Err(error) = at(&database, config, report).await {
        unreachable(config, &error, report);
    }
    database.close().await;
    if !report.findings.iter().any(|finding| finding.level == super::Level::Error) {
        does(config, report).await;
    }
}

async fn at(database: &Database, config: &Config, report: &mut Report) -> Result<(), StoreError> {
    let found = database.in_time(inspect_setup(database, &config.gateway)).await?;
    report.looked(&SETUP);
    let server = &found.server;
    report.fact(format!("{} {}, time zone {}", server.product, server.version, server.time_zone));
    setup(&found, report);
    // What is granted on tables that are not there yet says nothing.
    let is_migrated = found.migration.examination.pending.is_empty();
    let lacking = if is_migrated {
        database.in_time(missing_rights(database, config.worker.mode)).await?
    } else {
        Vec::new()
    };
    report.looked(if is_migrated { &[Code::RightsMissing] } else { &[] });
    if !lacking.is_empty() {
        let user = found.server.user.clone().unwrap_or_default();
        let role = if config.worker.mode == Mode::Observe { "observe" } else { "run" };
        let remedy =
            format!("let an administrator run what hostmatch gateway grants --role {role} --user … prints");
        report.found_with(
            Code::RightsMissing,
            format!("user {user}"),
            format!("it lacks {}", lacking.join("; ")),
            remedy,
        );
    }
    for one in database.in_time(lacking_indexes(database)).await? {
        let remedy = if one.ours {
            format!("{}, as the owner of the table", one.statement)
        } else {
            format!("{}, in a migration of the gateway", one.statement)
        };
        let what = format!("there is no index that begins with {}", one.columns);
        report.found_with(Code::IndexMissing, one.table, what, remedy);
    }
    report.looked(&[Code::IndexMissing]);
    if let Some(ahead) = database.in_time(clock_ahead(database)).await?
        && ahead.abs() > SKEW_MS
    {
        let way = if ahead > 0 { "ahead of" } else { "behind" };
        let what = format!("its clock is {}.{} s {way} ours", ahead.abs() / 1000, ahead.abs() % 1000 / 100);
        report.found(Code::ClockSkew, "the database's clock", what);
    }
    report.looked(&[Code::ClockSkew]);
    if let Some(room) = database.in_time(room(database)).await? {
        let wanted = i64::from(config.database.max_connections);
        let left = room.connections - room.connected;
        if left < wanted {
            let what = format!("{left} of the server's {} connections are left", room.connections);
            report.found(Code::ConnectionsScarce, format!("database.max_connections = {wanted}"), what);
        }
        if let Some(statements) = room.statements.filter(|statements| *statements < wanted * STATEMENTS) {
            let what = format!("the server keeps {statements} more prepared statements");
            report.found(Code::StatementsScarce, format!("database.max_connections = {wanted}"), what);
        }
    }
    report.looked(&[Code::ConnectionsScarce, Code::StatementsScarce]);
    Ok(())
}

fn unreachable(config: &Config, error: &StoreError, report: &mut Report) {
    report.found(Code::DatabaseUnreachable, config.database.url.shown_as_url(), error.to_string());
}

/// What `hostmatch gateway inspect` finds, as far as it keeps a worker from its work. What the
/// gateway's rows hold in store is left to that command.
fn setup(found: &Inspection, report: &mut Report) {
    let subject = &found.server.database;
    for one in &found.findings {
        let code = match one.kind {
            Kind::ServerAge => Code::DatabaseTooOld,
            Kind::ReadOnly => Code::DatabaseReadOnly,
            Kind::GatewayTables => Code::GatewayTablesMissing,
            Kind::Unusable if one.what.contains("gateway.timezone") => Code::TimezoneUnknown,
            Kind::Unusable => Code::GatewayUnusable,
            Kind::Engine => Code::EngineUnsafe,
            Kind::Collation => Code::StaffKeyDiffers,
            Kind::Halfway => Code::MigrationsHalfway,
            Kind::Newer => Code::MigrationsNewer,
            Kind::Obstacle => Code::MigrationsBlocked,
            Kind::Sequence => Code::SequenceLags,
            Kind::Clock => Code::TimezoneWrong,
            Kind::Adoption | Kind::Migrating | Kind::Trigger | Kind::Rows => continue,
        };
        match code {
            Code::MigrationsNewer | Code::TimezoneUnknown => {
                report.found(code, subject, &one.what);
            }
            _ => report.found_with(code, subject, &one.what, &one.remedy),
        }
    }
    let pending = &found.migration.examination.pending;
    if !pending.is_empty() {
        let adopts = !found.migration.examination.adoptions.is_empty();
        let remedy = if adopts { "hostmatch migrate up --adopt" } else { "hostmatch migrate up" };
        let what = format!("pending: {}", pending.join(", "));
        report.found_with(Code::MigrationsPending, subject, what, remedy);
    }
    if found.missing.iter().any(|one| one.what == "staff.email") && found.uses.is_some() {
        report.found(Code::StaffEmailHidden, "staff.email", "it is not there for this user");
    }
}

/// Does what deciding does, and rolls it back.
async fn does(config: &Config, report: &mut Report) {
    let probed = async {
        let database = Database::connect(&config.database).await?;
        let probed = database
            .in_time(async {
                let schema = GatewaySchema::read(&database, &config.gateway).await?;
                store::probe(&database, &schema, config.worker.mode).await
            })
            .await;
        database.close().await;
        probed
    };
    report.looked(&[Code::DatabaseProbeFailed]);
    if let Err(error) = probed.await {
        let remedy = match error {
            StoreError::Conflict(_) => {
                "somebody else holds locks for long: look at the server's list of processes"
            }
            _ => "mend what the server says; hostmatch gateway inspect tells more",
        };
        report.found_with(
            Code::DatabaseProbeFailed,
            config.database.url.shown_as_url(),
            error.to_string(),
            remedy,
        );
    }
}
