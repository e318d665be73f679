//! The inbox: taking a suggestion, ignoring a host, opening it again.

use sea_orm::DatabaseTransaction;

use super::carry_out::{again, fitting};
use super::decision::Author;
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{HostKey, InboxState, Suggestion};
use crate::runtime::clock::now_ms;
use crate::store::{self, Database, GatewaySchema, InboxEntry, InboxFilter, NewHostAct, StoreError};

/// Why something cannot be done with a host of the inbox.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// The database's error.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It has never needed a person.
    #[error("host {1} of company {0} is not in the inbox")]
    Absent(CompanyId, HostId),
    /// It has a mapping.
    #[error("host {0} needs nobody any more: it has a mapping")]
    Resolved(HostId),
    /// Nobody is suggested.
    #[error("nobody is suggested for host {0}: say who it is (hostmatch inbox assign … --staff ID)")]
    NoSuggestion(HostId),
    /// More than one is suggested.
    #[error("several are suggested for host {host}: say which with --staff ({})", names(.staff))]
    SeveralSuggestions {
        /// The host.
        host: HostId,
        /// They.
        staff: Vec<StaffId>,
    },
    /// Somebody else is suggested.
    #[error("staff {staff} is not suggested for host {host} (but {}): to choose anybody, use hostmatch inbox assign", names(.suggested))]
    NotSuggested {
        /// The host.
        host: HostId,
        /// Who was named.
        staff: StaffId,
        /// Who is suggested.
        suggested: Vec<StaffId>,
    },
    /// An end in the past.
    #[error("--until lies in the past")]
    Over,
}

fn names(staff: &[StaffId]) -> String {
    staff.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// One host of the inbox.
///
/// # Errors
/// [`InboxError::Absent`]
pub async fn inbox_entry(database: &Database, key: HostKey) -> Result<InboxEntry, InboxError> {
    let filter = InboxFilter { company: Some(key.company), host: Some(key.host), ..InboxFilter::default() };
    let entries = store::inbox_entries(database.connection(), &filter, now_ms(), 0, 1);
    database.in_time(entries).await?.pop().ok_or(InboxError::Absent(key.company, key.host))
}

/// The suggestion that a person accepts: the one there is, or the one named.
///
/// # Errors
/// [`InboxError`]
pub fn accepted<'a>(entry: &'a InboxEntry, staff: Option<&StaffId>) -> Result<&'a Suggestion, InboxError> {
    let host = entry.row.key.host;
    if entry.row.state == InboxState::Resolved {
        return Err(InboxError::Resolved(host));
    }
    let suggested = || entry.row.suggestions.iter().map(|one| one.staff.clone()).collect();
    match (entry.row.suggestions.as_slice(), staff) {
        ([], _) => Err(InboxError::NoSuggestion(host)),
        ([one], None) => Ok(one),
        (_, None) => Err(InboxError::SeveralSuggestions { host, staff: suggested() }),
        (all, Some(staff)) => {
            let is_named = |one: &&Suggestion| one.staff.to_string().eq_ignore_ascii_case(&staff.to_string());
            let found = all.iter().find(is_named);
            found.ok_or_else(|| InboxError::NotSuggested {
                host,
                staff: staff.clone(),
                suggested: suggested(),
            })
        }
    }
}

/// Ignores a host until a moment (ms since 1970), or until it is reopened. Workers go on noting what
/// they see of it, and nobody is asked.
///
/// # Errors
/// [`InboxError`]
pub async fn ignore(
    database: &Database,
    schema: &GatewaySchema,
    key: HostKey,
    author: &Author,
    (why, until_ms): (&str, Option<i64>),
) -> Result<(), InboxError> {
    if until_ms.is_some_and(|until| until <= now_ms()) {
        return Err(InboxError::Over);
    }
    let act = NewHostAct {
        key,
        made_by: author.as_str().to_owned(),
        at_ms: now_ms(),
        why: Some(fitting(why)),
        until_ms,
    };
    on_host(database, schema, key, async |tx: &DatabaseTransaction| store::ignore_host(tx, &act).await).await
}

/// Opens an ignored host again. False: it is open already.
///
/// # Errors
/// [`InboxError`]
pub async fn reopen(
    database: &Database,
    schema: &GatewaySchema,
    key: HostKey,
    author: &Author,
    why: Option<&str>,
) -> Result<bool, InboxError> {
    if inbox_entry(database, key).await?.row.state == InboxState::Open {
        return Ok(false);
    }
    let act = NewHostAct {
        key,
        made_by: author.as_str().to_owned(),
        at_ms: now_ms(),
        why: why.map(fitting),
        until_ms: None,
    };
    on_host(database, schema, key, async |tx: &DatabaseTransaction| store::reopen_host(tx, &act).await)
        .await?;
    Ok(true)
}

/// Does something with a host that still needs a person, under its lock: workers write its row too.
async fn on_host(
    database: &Database,
    schema: &GatewaySchema,
    key: HostKey,
    work: impl AsyncFn(&DatabaseTransaction) -> Result<(), StoreError>,
) -> Result<(), InboxError> {
    let done = again(database, async |tx: &DatabaseTransaction| {
        store::lock_host(tx, schema, key).await?;
        let filter =
            InboxFilter { company: Some(key.company), host: Some(key.host), ..InboxFilter::default() };
        match store::inbox_entries(tx, &filter, now_ms(), 0, 1).await?.pop().map(|entry| entry.row.state) {
            None => Ok(Some(InboxError::Absent(key.company, key.host))),
            Some(InboxState::Resolved) => Ok(Some(InboxError::Resolved(key.host))),
            Some(InboxState::Open | InboxState::Ignored) => work(tx).await.map(|()| None),
        }
    });
    done.await?.map_or(Ok(()), Err)
}
