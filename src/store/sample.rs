//! What waits for people, in numbers, for gauges: asked every few seconds by every worker, and so by
//! indexes alone.

use sea_orm::sea_query::{Asterisk, CaseStatement, Expr, ExprTrait as _, Query, TableRef};
use sea_orm::{ConnectionTrait, QueryResult};

use super::inbox::open_by_kind;
use super::{Database, DbId, InboxKind, StoreError};

const DAY_MS: i64 = 86_400_000;

/// How far ahead bookings are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Horizon {
    /// Those that start within 24 hours.
    Day,
    /// Within seven days.
    Week,
    /// At any time from now on.
    All,
}

impl Horizon {
    /// All of them, from the nearest.
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::All];

    /// The name under which it is counted.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::All => "all",
        }
    }
}

/// What waits for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Dead letters that are open.
    pub dead_letters_open: i64,
    /// Open hosts of the inbox, by what is the matter.
    pub inbox: Vec<(InboxKind, i64)>,
    /// Since when the one has been open that has longest, ms since 1970.
    pub inbox_since_ms: Option<i64>,
    /// Bookings without staff that have not begun, by [`Horizon::ALL`].
    pub unassigned: [i64; 3],
}

/// Counts all of it, as of `now_ms`.
///
/// # Errors
/// [`StoreError`]
pub async fn sample(database: &Database, now_ms: i64) -> Result<Sample, StoreError> {
    let db = database.connection();
    let (inbox, inbox_since_ms) = open_by_kind(db, now_ms).await?;
    let dead_letters_open = dead_letters_open(db).await?;
    Ok(Sample { dead_letters_open, inbox, inbox_since_ms, unassigned: unassigned(db, now_ms).await? })
}

async fn dead_letters_open(db: &impl ConnectionTrait) -> Result<i64, StoreError> {
    let mut select = Query::select();
    select
        .expr_as(Expr::col(Asterisk).count(), "letters")
        .from("dead_letters")
        .and_where(Expr::col("state").eq("open"));
    db.query_one(&select).await?.map_or(Ok(0), |row| number(&row, "letters"))
}

/// Nobody was found for the booking's newest event, nobody has been assigned since, and it was not
/// cancelled since.
async fn unassigned(db: &impl ConnectionTrait, now_ms: i64) -> Result<[i64; 3], StoreError> {
    let (a, ap, e) = ("a", "ap", "e");
    let starts = || Expr::col((a, "starts_ms"));
    let within = |days: i64| {
        let until = now_ms.saturating_add(days * DAY_MS);
        Expr::expr(CaseStatement::new().case(starts().lt(until), 1)).count()
    };
    let mut cancelled = Query::select();
    cancelled
        .column((e, "event_id"))
        .from_as("booking_events", e)
        .and_where(Expr::col((e, "booking_ref")).equals((a, "booking_ref")))
        .and_where(Expr::col((e, "appointment_id")).equals((a, "appointment_id")))
        .and_where(Expr::col((e, "outcome")).eq("recorded"))
        .and_where(Expr::col((e, "decided_ms")).gte(Expr::col((a, "decided_ms"))));
    let mut select = Query::select();
    select
        .expr_as(within(1), Horizon::Day.as_str())
        .expr_as(within(7), Horizon::Week.as_str())
        .expr_as(Expr::col((a, "appointment_id")).count(), Horizon::All.as_str())
        .from_as("appointment_assignments", a)
        .inner_join(
            TableRef::Table("appointments".into(), Some(ap.into())),
            Expr::col((ap, "id"))
                .equals((a, "appointment_id"))
                .and(Expr::col((ap, "company_id")).equals((a, "company_id"))),
        )
        .and_where(Expr::col((a, "outcome")).is_in(["needs_review", "unmatched", "no_host"]))
        .and_where(starts().gte(now_ms))
        .and_where(Expr::col((ap, "staff_id")).is_null())
        .and_where(Expr::exists(cancelled).not());
    let Some(row) = db.query_one(&select).await? else { return Ok([0; 3]) };
    let [day, week, all] = Horizon::ALL.map(|horizon| number(&row, horizon.as_str()));
    Ok([day?, week?, all?])
}

fn number(row: &QueryResult, column: &str) -> Result<i64, StoreError> {
    Ok(row.try_get::<DbId>("", column)?.0)
}
