//! Keeps the inbox bounded: removes hosts for which no booking waits. Hosts that a person ignores stay.

use sea_orm::sea_query::Asterisk;

use crate::event::{CompanyId, HostId};
use crate::matching::{HostKey, InboxState, Outcome};
use crate::store::entity::assignment;
use crate::store::entity::inbox::{Column, Entity};
use crate::store::prelude::*;
use crate::store::retention::delete;
use crate::store::statement::any_host;
use crate::store::{Database, Scope};

/// The number of rows per statement.
const STEP: u64 = 256;

/// The number of hosts that a company's inbox keeps: far more than a person can look through.
pub const MAX_INBOX_HOSTS: u64 = 20_000;

/// Removes the hosts that no booking has named since `before_ms` and for which no booking waits. Returns how
/// many. After an error, the completed steps remain.
pub async fn purge_inbox(database: &Database, before_ms: i64) -> Result<u64> {
    remove_oldest(database, Column::LastSeenMs.lt(before_ms), u64::MAX).await
}

/// Removes hosts for which no booking waits from each company with more than `max_hosts` of them, those that
/// were named longest ago first. Returns the companies with the number of removed hosts. After an error, the
/// completed steps remain.
pub async fn bound_inbox(database: &Database, max_hosts: u64) -> Result<Vec<(CompanyId, u64)>> {
    let full = with_hosts(database.connection(), &Scope::All, max_hosts.saturating_add(1));
    let full = database.with_deadline(full).await?;
    let mut removed = Vec::new();
    for (company, hosts) in full {
        let excess = u64::try_from(hosts).unwrap_or_default().saturating_sub(max_hosts);
        removed.push((company, remove_oldest(database, Column::CompanyId.eq(company), excess).await?));
    }
    Ok(removed)
}

/// Returns the companies whose inbox has as many hosts as it keeps: more push out the oldest.
pub async fn full_inboxes(db: &impl ConnectionTrait, scope: &Scope) -> Result<Vec<CompanyId>> {
    let full = with_hosts(db, scope, MAX_INBOX_HOSTS).await?;
    Ok(full.into_iter().map(|(company, _)| company).collect())
}

/// Returns the companies with at least this many hosts in their inbox, and the number of these.
async fn with_hosts(
    db: &impl ConnectionTrait,
    scope: &Scope,
    min_hosts: u64,
) -> Result<Vec<(CompanyId, i64)>> {
    let hosts = Expr::col(Asterisk).count();
    let companies = Entity::find()
        .select_only()
        .column(Column::CompanyId)
        .column_as(hosts.clone(), "hosts")
        .filter(scope.condition(Column::CompanyId))
        .group_by(Column::CompanyId)
        .having(hosts.gte(i64::try_from(min_hosts).unwrap_or(i64::MAX)))
        .order_by_asc(Column::CompanyId)
        .into_tuple();
    Ok(companies.all(db).await?)
}

/// Removes up to `limit` of the hosts that meet this condition and for which no booking waits, oldest first.
async fn remove_oldest(database: &Database, condition: Expr, limit: u64) -> Result<u64> {
    let mut removed = 0;
    while removed < limit {
        let oldest = Entity::find()
            .select_only()
            .columns([Column::CompanyId, Column::HostId])
            .filter(condition.clone())
            .filter(is_unneeded())
            .order_by_asc(Column::LastSeenMs)
            .order_by_asc(Column::HostId)
            .limit(Ord::min(STEP, limit - removed))
            .into_tuple::<(CompanyId, HostId)>();
        let keys = database.with_deadline(async { Ok(oldest.all(database.connection()).await?) }).await?;
        if keys.is_empty() {
            break;
        }
        let keys = keys.into_iter().map(|(company, host)| HostKey::new(company, host));
        // A booking may have arrived since, so the conditions are checked again.
        let hosts = Cond::all()
            .add(any_host(Column::CompanyId, Column::HostId, keys))
            .add(condition.clone())
            .add(is_unneeded());
        match delete::<Entity>(database, hosts).await? {
            0 => break,
            some => removed += some,
        }
    }
    Ok(removed)
}

/// Returns the condition that no person ignores the host, and that none of its bookings waits.
fn is_unneeded() -> Cond {
    Cond::all()
        .add(Column::State.ne(InboxState::Ignored.as_str()))
        .add(Expr::exists(waiting_bookings()).not())
}

fn waiting_bookings() -> SelectStatement {
    use assignment::Column as Booking;
    let mut select = Query::select();
    select
        .expr(Expr::val(1))
        .from(assignment::Entity)
        .and_where(Expr::col((assignment::Entity, Booking::CompanyId)).equals((Entity, Column::CompanyId)))
        .and_where(Expr::col((assignment::Entity, Booking::HostId)).equals((Entity, Column::HostId)))
        .and_where(Expr::col((assignment::Entity, Booking::StaffId)).is_null())
        .and_where(
            Expr::col((assignment::Entity, Booking::Outcome)).is_in(Outcome::waiting().map(Outcome::as_str)),
        );
    select
}
