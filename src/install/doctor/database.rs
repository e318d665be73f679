//! Checks the gateway's database: whether it is reachable, migrated, usable, and fast.

use crate::config::{Config, Mode};
use crate::install::inspection::{Inspection, inspect_at};
use crate::install::privileges::missing_privileges;
use crate::install::server_checks::{check_capacity, check_clock, check_packet, missing_indexes};
use crate::store::{self, Database, GatewaySchema, StoreError};

use super::{Area, Code, Level, Report};

pub(super) async fn check(config: &Config, report: &mut Report) {
    report.checked(Code::DatabaseUnreachable.to(Code::ConnectionsExhausted));
    let database = match Database::connect_read_only(&config.database).await {
        Ok(database) => database,
        Err(error) => return report_unreachable(config, &error, report),
    };
    // Each check reports what it can: an error in one check must not hide the findings of the others.
    if let Err(error) = check_connected(&database, config, report).await {
        report_unreachable(config, &error, report);
    }
    database.close().await;
    if !report.findings.iter().any(|finding| finding.level == Level::Error) {
        probe(config, report).await;
    }
}

async fn check_connected(
    database: &Database,
    config: &Config,
    report: &mut Report,
) -> Result<(), StoreError> {
    let found = database.with_deadline(inspect_at(database, &config.gateway, false)).await?;
    report.checked(Code::DatabaseTooOld.to(Code::SequenceLags));
    let server = &found.server;
    report.facts.push(format!("{} {}, time zone {}", server.product, server.version, server.time_zone));
    check_setup(&found, report);
    // Privileges on tables that do not exist cannot be checked.
    if found.migration.examination.pending.is_empty() {
        let missing = database.with_deadline(missing_privileges(database, config.worker.mode)).await?;
        report.checked(&[Code::RightsMissing]);
        if !missing.is_empty() {
            let user = format!("user {}", found.server.user.as_deref().unwrap_or_default());
            let what = format!("it lacks {}", missing.join("; "));
            let role = if config.worker.mode == Mode::Observe { "observe" } else { "run" };
            let remedy = format!(
                "let an administrator run the statements that hostmatch gateway grants --role {role} --user … prints"
            );
            report.found_with(Code::RightsMissing, user, what, remedy);
        }
    }
    report.findings.extend(database.with_deadline(missing_indexes(database)).await?);
    report.checked(&[Code::IndexMissing]);
    report.findings.extend(database.with_deadline(check_clock(database)).await?);
    report.checked(&[Code::ClockSkew]);
    let connections = i64::from(config.database.max_connections);
    report.findings.extend(database.with_deadline(check_capacity(database, connections)).await?);
    report.checked(Code::ConnectionsScarce.to(Code::StatementsScarce));
    let packet = check_packet(database, config.edge.body_limit);
    report.findings.extend(database.with_deadline(packet).await?);
    report.checked(&[Code::PacketSmall]);
    Ok(())
}

fn report_unreachable(config: &Config, error: &StoreError, report: &mut Report) {
    let code = match error {
        StoreError::Full(_) => Code::ConnectionsExhausted,
        _ => Code::DatabaseUnreachable,
    };
    report.found(code, config.database.url.redacted_url(), error.to_string());
}

/// Reports the findings of `hostmatch gateway inspect` that hinder a worker, but not those about the gateway's
/// rows.
fn check_setup(found: &Inspection, report: &mut Report) {
    let subject = &found.server.database;
    report.findings.extend(found.findings.iter().filter(|one| one.area == Area::Database).cloned());
    let pending = &found.migration.examination.pending;
    if !pending.is_empty() {
        let adopts = !found.migration.examination.adoptions.is_empty();
        let remedy = if adopts { "hostmatch migrate up --adopt" } else { "hostmatch migrate up" };
        let what = format!("pending: {}", pending.join(", "));
        report.found_with(Code::MigrationsPending, subject, what, remedy);
    }
    if found.missing.iter().any(|one| one.what == "staff.email") && found.uses.is_some() {
        report.found(Code::StaffEmailHidden, "staff.email", "this user cannot see the column");
    }
}

/// Runs a worker's statements in a transaction, and rolls it back.
async fn probe(config: &Config, report: &mut Report) {
    let probed = async {
        let database = Database::connect(&config.database).await?;
        let probe = async {
            let schema = GatewaySchema::read(&database, &config.gateway).await?;
            store::probe(&database, &schema, config.worker.mode).await
        };
        let probed = database.with_deadline(probe).await;
        database.close().await;
        probed
    };
    report.checked(&[Code::DatabaseProbeFailed]);
    if let Err(error) = probed.await {
        if matches!(error, StoreError::Full(_)) {
            return report_unreachable(config, &error, report);
        }
        let remedy = match error {
            StoreError::Conflict(_) => {
                "another session holds locks for a long time: check the server's list of processes"
            }
            _ => "fix what the server reports; hostmatch gateway inspect shows more",
        };
        let subject = config.database.url.redacted_url();
        report.found_with(Code::DatabaseProbeFailed, subject, error.to_string(), remedy);
    }
}
