//! Use cases of the inbox: list, show, accept, assign, ignore and reopen hosts that need a person.

use sea_orm::DatabaseTransaction;
use serde::Serialize;

use super::carry_out::{fit_column, transact_with_retries};
use super::context::{Names, names, page};
use super::mappings::{self, MappingView};
use super::repair::{self, Counts};
use super::{AppContext, AppError, Command, Decision, NextAction, Refusal};
use crate::event::StaffId;
use crate::matching::{Actor, Confidence, Evidence, HostKey, InboxState, Review, Suggestion};
use crate::runtime::clock::{as_rfc3339, now_ms};
use crate::store::{
    self, AuditFilter, AuditRow, Bookings, HostAction, InboxFilter, InboxHost, InboxKind, MappingFilter,
    RecordedHostAction, Scope,
};

/// A host that needs a person, as JSON. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct InboxView {
    #[serde(flatten)]
    pub(crate) key: HostKey,
    pub(crate) name: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) kind: InboxKind,
    pub(crate) what: &'static str,
    pub(crate) state: InboxState,
    pub(crate) ignored_by: Option<Actor>,
    pub(crate) ignored_reason: Option<String>,
    /// The moment at which the host is reopened, ms since 1970. `None` if only a person reopens it.
    #[serde(serialize_with = "as_rfc3339")]
    pub(crate) ignored_until: Option<i64>,
    #[serde(flatten)]
    pub(crate) bookings: Bookings,
    /// The hour in which a booking first named the host, ms since 1970.
    #[serde(serialize_with = "as_rfc3339")]
    pub(crate) first_seen: i64,
    /// The hour in which a booking last named the host, ms since 1970.
    #[serde(serialize_with = "as_rfc3339")]
    pub(crate) last_seen: i64,
    pub(crate) suggestions: Vec<SuggestionView>,
}

/// A suggestion, as JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SuggestionView {
    pub(crate) staff: StaffId,
    pub(crate) staff_name: Option<String>,
    pub(crate) strategy: String,
    pub(crate) confidence: Confidence,
    pub(crate) because: String,
}

impl SuggestionView {
    fn of(one: Suggestion, names: &Names) -> Self {
        let staff_name = names.name(&one.staff);
        let because = describe_evidence(&one.evidence);
        Self { staff: one.staff, staff_name, strategy: one.strategy, confidence: one.confidence, because }
    }
}

fn describe_evidence(Evidence { field, value }: &Evidence) -> String {
    match field.as_str() {
        "email" => format!("has the same e-mail address, {value}"),
        "name" => format!("has the same name, {value}"),
        "mapping" => format!("is mapped to this host ({value})"),
        other => format!("has the same {other}, {value}"),
    }
}

impl InboxView {
    /// Creates the view of an entry. `last` is the last action on the host (ignored or reopened).
    fn of(entry: InboxHost, last: Option<&RecordedHostAction>, names: &Names) -> Self {
        let InboxHost { row, kind, ignored_until_ms, bookings } = entry;
        let is_ignored = row.state == InboxState::Ignored;
        let ignored = last.filter(|last| is_ignored && last.action.known() == Some(HostAction::Ignore));
        Self {
            key: row.key,
            name: row.host.name,
            email: row.host.email,
            kind,
            what: describe_problem(row.review, kind),
            state: row.state,
            ignored_by: ignored.map(|last| last.by.clone()),
            ignored_reason: ignored.and_then(|last| last.why.clone()),
            ignored_until: ignored_until_ms,
            bookings,
            first_seen: row.first_seen_ms,
            last_seen: row.last_seen_ms,
            suggestions: row.suggestions.into_iter().map(|one| SuggestionView::of(one, names)).collect(),
        }
    }

    /// Returns the action that decides the host.
    pub(crate) fn next(&self) -> Option<NextAction> {
        next_action(self.key, self.state, self.suggestions.iter().map(|one| &one.staff))
    }
}

/// Returns the action that decides a host in this state, with suggestions of these members of staff.
pub(super) fn next_action<'a>(
    key: HostKey,
    state: InboxState,
    suggested: impl IntoIterator<Item = &'a StaffId>,
) -> Option<NextAction> {
    let suggested: Vec<StaffId> = suggested.into_iter().cloned().collect();
    match (state, suggested.as_slice()) {
        (InboxState::Resolved, _) => None,
        (_, []) => Some(NextAction::AssignHost(key)),
        (_, [_]) => Some(NextAction::AcceptSuggestion(key)),
        (_, _) => Some(NextAction::ChooseSuggestion(key, suggested)),
    }
}

pub(super) fn describe_problem(review: Option<Review>, kind: InboxKind) -> &'static str {
    match (review, kind) {
        (None, _) => "nobody was found",
        (Some(Review::BelowThreshold), _) => "somebody fits, but with too little confidence",
        (Some(Review::SwitchedOff), _) => "somebody fits, but a person has switched off that mapping",
        (Some(Review::Ambiguous), InboxKind::Conflict) => "several mappings are in force and disagree",
        (Some(Review::Ambiguous), _) => "several people fit equally well",
    }
}

/// A page of the inbox.
#[derive(Debug, Serialize)]
pub(crate) struct InboxList {
    pub(crate) hosts: Vec<InboxView>,
    pub(crate) next_skip: Option<u64>,
}

/// Returns hosts that need a person, those with the earliest booking first.
pub(crate) async fn list(
    context: &AppContext,
    filter: &InboxFilter,
    (skip, limit): (u64, u64),
) -> Result<InboxList, AppError> {
    let db = context.connection();
    let entries = store::inbox_hosts(db, &context.scope, filter, (skip, limit + 1));
    let (entries, next_skip) = page(context.with_deadline(entries).await?, limit, |_| skip + limit);
    let names = names(context, entries.iter().flat_map(suggested)).await?;
    let keys = entries.iter().map(|entry| entry.row.key).collect();
    let last = context.with_deadline(store::last_host_actions(db, &keys)).await?;
    let view = |entry: InboxHost| {
        let last = last.get(&entry.row.key);
        InboxView::of(entry, last, &names)
    };
    let hosts = entries.into_iter().map(view).collect();
    Ok(InboxList { hosts, next_skip })
}

fn suggested(entry: &InboxHost) -> impl Iterator<Item = StaffId> + '_ {
    entry.row.suggestions.iter().map(|one| one.staff.clone())
}

/// A host of the inbox with everything that a person needs to decide.
#[derive(Debug, Serialize)]
pub(crate) struct InboxDetails {
    pub(crate) host: InboxView,
    pub(crate) waiting: Counts,
    pub(crate) mappings: Vec<MappingView>,
    pub(crate) history: Vec<AuditRow>,
    #[serde(rename = "acts")]
    pub(crate) actions: Vec<RecordedHostAction>,
}

/// Returns one host: its problem, the suggestions with reasons, the waiting appointments and the history.
pub(crate) async fn show(context: &AppContext, key: HostKey) -> Result<InboxDetails, AppError> {
    let entry = find_entry(context, key).await?;
    let names = names(context, suggested(&entry)).await?;
    let actions = context.with_deadline(store::host_actions(context.connection(), key)).await?;
    let host = InboxView::of(entry, actions.last(), &names);
    let waiting = repair::preview(context, key).await?.counts();
    let filter = MappingFilter { host: Some(key.host), ..MappingFilter::default() };
    let mappings = mappings::read(context, &filter, 50).await?;
    let filter = AuditFilter { host: Some(key.host), ..AuditFilter::default() };
    let history = mappings::read_audits(context, &filter, 20).await?;
    Ok(InboxDetails { host, waiting, mappings, history, actions })
}

/// Returns the host's entry. Fails if the host is not in the inbox or the caller may not see its company.
async fn find_entry(context: &AppContext, key: HostKey) -> Result<InboxHost, AppError> {
    let found = context.with_deadline(read_entry(context.connection(), key)).await?;
    Ok(found.filter(|_| context.scope.contains(key.company)).ok_or(Refusal::NotInInbox(key))?)
}

async fn read_entry(
    db: &impl sea_orm::ConnectionTrait,
    key: HostKey,
) -> Result<Option<InboxHost>, store::StoreError> {
    let filter = InboxFilter { host: Some(key.host), ..InboxFilter::default() };
    Ok(store::inbox_hosts(db, &Scope::of(Some(key.company)), &filter, (0, 1)).await?.pop())
}

/// Returns the decision that accepts a suggestion for a host: the only one, or the one for `staff`.
pub(crate) async fn accept_decision(
    context: &AppContext,
    key: HostKey,
    staff: Option<&StaffId>,
) -> Result<Decision, AppError> {
    let row = find_entry(context, key).await?.row;
    if row.state == InboxState::Resolved {
        return Err(Refusal::Resolved(key.host).into());
    }
    let suggested = || row.suggestions.iter().map(|one| one.staff.clone()).collect();
    let chosen = match (row.suggestions.as_slice(), staff) {
        ([], _) => Err(Refusal::NoSuggestion(key)),
        ([one], None) => Ok(one),
        (_, None) => Err(Refusal::SeveralSuggestions(key, suggested())),
        (all, Some(staff)) => {
            let is_named = |one: &&Suggestion| one.staff.to_string().eq_ignore_ascii_case(&staff.to_string());
            all.iter().find(is_named).ok_or_else(|| Refusal::NotSuggested(key, staff.clone(), suggested()))
        }
    }?;
    let reason = format!("suggestion accepted: {} ({})", chosen.strategy, chosen.confidence.0);
    let decision = Decision::new(key.company, key.host, Command::Set(chosen.staff.clone()));
    Ok(Decision { reason: Some(reason), ..decision })
}

/// Returns the decision that maps a host of the inbox. (`Command::Set` alone also maps hosts outside it.)
pub(crate) async fn assign_decision(
    context: &AppContext,
    key: HostKey,
    staff: &StaffId,
) -> Result<Decision, AppError> {
    find_entry(context, key).await?;
    Ok(Decision::new(key.company, key.host, Command::Set(staff.clone())))
}

/// An ignored host, as JSON.
#[derive(Debug, Serialize)]
pub struct IgnoredView {
    did: &'static str,
    #[serde(flatten)]
    key: HostKey,
    /// The moment at which the host is reopened, ms since 1970. `None` if only a person reopens it.
    #[serde(serialize_with = "as_rfc3339")]
    pub until: Option<i64>,
    reason: String,
}

/// Ignores a host until `until` (ms since 1970), or until it is reopened. Workers continue to record the
/// host's bookings, but a person no longer needs to decide. Fails if the host is not in the inbox or is
/// mapped, or if `until` is in the past.
pub async fn ignore(
    context: &AppContext,
    key: HostKey,
    why: &str,
    until: Option<i64>,
) -> Result<IgnoredView, AppError> {
    if until.is_some_and(|until| until <= now_ms()) {
        return Err(AppError::Invalid(
            "the end of the ignore period is in the past: give a later time".to_owned(),
        ));
    }
    record_action(context, key, (HostAction::Ignore, until), Some(why)).await?;
    Ok(IgnoredView { did: "ignored", key, until, reason: why.to_owned() })
}

/// A host that was reopened, or was open already, as JSON.
#[derive(Debug, Serialize)]
pub struct ReopenedView {
    did: &'static str,
    #[serde(flatten)]
    key: HostKey,
    /// False if the host was open already.
    #[serde(skip)]
    pub is_new: bool,
}

/// Reopens an ignored host. Fails if the host is not in the inbox or is mapped.
pub async fn reopen(context: &AppContext, key: HostKey, why: Option<&str>) -> Result<ReopenedView, AppError> {
    let is_new = find_entry(context, key).await?.row.state != InboxState::Open;
    if is_new {
        record_action(context, key, (HostAction::Reopen, None), why).await?;
    }
    Ok(ReopenedView { did: if is_new { "reopened" } else { "unchanged" }, key, is_new })
}

/// Records an action on a host that still needs a person, under the host's lock, because workers also write
/// the host's row.
async fn record_action(
    context: &AppContext,
    key: HostKey,
    action: (HostAction, Option<i64>),
    why: Option<&str>,
) -> Result<(), AppError> {
    find_entry(context, key).await?;
    let state = transact_with_retries(&context.database, async |tx: &DatabaseTransaction| {
        store::lock_hosts(tx, &context.schema, &[key].into()).await?;
        let state = read_entry(tx, key).await?.map(|entry| entry.row.state);
        if matches!(state, Some(InboxState::Open | InboxState::Ignored)) {
            let by = (context.author.actor(), why.map(fit_column));
            store::perform_host_action(tx, key, action, by).await?;
        }
        Ok(state)
    });
    match state.await? {
        None => Err(Refusal::NotInInbox(key).into()),
        Some(InboxState::Resolved) => Err(Refusal::Resolved(key.host).into()),
        Some(InboxState::Open | InboxState::Ignored) => Ok(()),
    }
}
