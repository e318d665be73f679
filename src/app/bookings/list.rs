//! Lists bookings, those that start soonest first, with what would give them a member of staff.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::super::context::{Names, names, page};
use super::super::inbox::{describe_problem, next_action};
use super::super::{AppContext, AppError, NextAction};
use crate::event::{AppointmentId, BookingRef, CompanyId, HostId, StaffId};
use crate::matching::{HostKey, InboxState, Outcome};
use crate::runtime::clock::as_rfc3339;
use crate::store::{self, BookingFilter, BookingRow, HostFacts, InboxKind};

/// A booking, as JSON. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the other names are clear")]
pub struct BookingView {
    pub appointment: AppointmentId,
    pub company: CompanyId,
    pub booking: Option<BookingRef>,
    /// When it starts, in ms since 1970.
    #[serde(serialize_with = "as_rfc3339")]
    pub starts: Option<i64>,
    /// The name of its service, if the gateway has one.
    pub service: Option<String>,
    pub host: Option<HostId>,
    pub host_name: Option<String>,
    pub host_email: Option<String>,
    /// The appointment's current member of staff.
    pub staff: Option<StaffId>,
    pub staff_name: Option<String>,
    /// The outcome of the last decision.
    pub outcome: String,
    /// Why it has no member of staff. `None` if it has one.
    pub why: Option<&'static str>,
    /// What would give it a member of staff. `None` if it has one.
    #[serde(skip)]
    pub action: Option<NextAction>,
    /// The action as a command. The front end fills it in.
    pub next: Option<String>,
}

/// A page of bookings.
#[derive(Debug, Serialize)]
pub struct BookingList {
    /// The bookings, those that start soonest first.
    pub bookings: Vec<BookingView>,
    /// The value of `--after` for the next page.
    pub next_after: Option<String>,
}

/// Returns bookings, those that start soonest first.
pub async fn list(context: &AppContext, filter: &BookingFilter, limit: u64) -> Result<BookingList, AppError> {
    let rows = store::bookings(context.connection(), &context.schema, &context.scope, filter, limit + 1);
    let cursor = |row: &BookingRow| format!("{}:{}", row.starts_ms.unwrap_or(0), row.appointment);
    let (rows, next_after) = page(context.with_deadline(rows).await?, limit, cursor);
    Ok(BookingList { bookings: views(context, rows).await?, next_after })
}

/// Adds to these bookings what is known about their hosts, members of staff and services.
pub(super) async fn views(context: &AppContext, rows: Vec<BookingRow>) -> Result<Vec<BookingView>, AppError> {
    let (db, schema) = (context.connection(), &context.schema);
    let keys: BTreeSet<HostKey> = rows.iter().filter_map(key_of).collect();
    let hosts = context.with_deadline(store::facts(db, schema, &keys)).await?;
    let names = names(context, rows.iter().filter_map(|row| row.now.clone())).await?;
    let services = store::service_names(db, schema, rows.iter().map(|row| row.appointment));
    // The user of the database may not be allowed to read the gateway's services.
    let mut services = context.with_deadline(services).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "cannot read the names of services");
        BTreeMap::new()
    });
    let view = |row: BookingRow| {
        let service = services.remove(&row.appointment);
        let host = key_of(&row).and_then(|key| hosts.get(&key));
        BookingView { service, ..BookingView::of(row, host, &names) }
    };
    Ok(rows.into_iter().map(view).collect())
}

fn key_of(row: &BookingRow) -> Option<HostKey> {
    row.host.and_then(|host| HostId::new(host.0)).map(|host| HostKey::new(row.company, host))
}

impl BookingView {
    fn of(row: BookingRow, host: Option<&HostFacts>, names: &Names) -> Self {
        let problem = row.now.is_none().then(|| problem_of(&row, host));
        let (why, action) = problem.unzip();
        let inbox = host.and_then(|host| host.inbox.as_ref());
        let mapping = host.and_then(|host| host.mappings.iter().rev().find(|it| !it.name.is_empty()));
        let host_name = inbox.and_then(|row| row.host.name.clone()).or(mapping.map(|it| it.name.clone()));
        Self {
            appointment: row.appointment,
            company: row.company,
            booking: row.booking,
            starts: row.starts_ms,
            service: None,
            host: row.host,
            host_name,
            host_email: row.host_email.or_else(|| inbox.and_then(|row| row.host.email.clone())),
            staff_name: row.now.as_ref().and_then(|staff| names.name(staff)),
            staff: row.now,
            outcome: row.outcome,
            why,
            action,
            next: None,
        }
    }
}

/// Returns why an appointment has no member of staff, and what would give it one.
fn problem_of(row: &BookingRow, host: Option<&HostFacts>) -> (&'static str, NextAction) {
    let by_hand = NextAction::AssignBooking(row.appointment);
    let outcome = row.outcome.parse::<Outcome>().ok();
    if row.ours.is_some() || outcome == Some(Outcome::Kept) {
        return ("somebody removed its member of staff", by_hand);
    }
    match outcome {
        Some(Outcome::NoHost) => return ("the booking names no host", by_hand),
        Some(Outcome::WouldAssign) => return ("workers only observe (worker.mode)", by_hand),
        Some(outcome) if outcome.waits() => {}
        _ => return ("nobody was assigned", by_hand),
    }
    let Some(host) = host else { return ("its host has no id, so it cannot be mapped", by_hand) };
    let key = host.key;
    if host.mappings.iter().any(|mapping| mapping.is_active_in(key.company) && mapping.has_valid_staff()) {
        return ("its host was mapped later", NextAction::RepairHost(key));
    }
    let Some(inbox) = &host.inbox else { return ("nobody was found", NextAction::MapUnseenHost(key)) };
    let why = match inbox.state {
        InboxState::Ignored => "its host is ignored",
        InboxState::Open | InboxState::Resolved => describe_problem(inbox.review, InboxKind::of(inbox)),
    };
    let suggested = inbox.suggestions.iter().map(|one| &one.staff);
    (why, next_action(key, inbox.state, suggested).unwrap_or(NextAction::AssignHost(key)))
}
