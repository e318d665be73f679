//! The dead letters, and the reads that are measured.

use hostmatch::event::CompanyId;
use hostmatch::store::{
    Compare, Database, DeadLetterFilter, LetterState, Scope, dead_letter_summaries, groups,
};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use crate::Result;
use crate::database::Engine;

/// The size of a page, as on the command line.
const PAGE: u64 = 50;
const REASONS: [&str; 5] =
    ["appointment_not_found", "malformed", "wrong_tenant", "delivery_limit", "unexpected"];

/// The columns of the rows that [`letter`] returns.
pub(crate) const COLUMNS: &str = "hostmatch_dead_letters (dead_id, event_id, event_type, booking_ref, company_id, reason, \
     error, fingerprint, attempts, history, routing_key, headers, body, first_seen_ms, last_failed_ms, \
     recorded_ms, state, host_id, starts_ms)";

/// Returns the values of the nth dead letter. All dead letters together have fifty causes, twenty companies
/// and a thousand hosts; each body is as large as one from Cal.com; one in ten is closed.
pub(crate) fn letter(engine: Engine, n: u64) -> String {
    let (cause, company, host) = (n * 7919 % 50, n * 31 % 20 + 1, n * 17 % 1_000 + 1);
    let reason = REASONS[usize::try_from(cause % 5).unwrap_or_default()];
    let at = 1_767_225_600_000 + n * 60_000;
    let body = "62".repeat(1_200);
    let body = if engine == Engine::Postgres { format!("'\\x{body}'") } else { format!("x'{body}'") };
    let state = if n.is_multiple_of(10) { "resolved" } else { "open" };
    format!(
        "('{n:032x}', 'event-{n}', 'appointment.created', 'bk{n}Qz', {company}, '{reason}', \
         'the appointment of booking {n} is not there: the gateway has none with this reference', \
         '{cause:032x}', {attempts}, '[]', 'appointment.created', '{{}}', {body}, {at}, {at}, {at}, '{state}', \
         {host}, {at})",
        attempts = n % 8 + 1
    )
}

/// One read that is measured.
pub(crate) struct Read {
    pub(crate) name: &'static str,
    company: Option<i64>,
    filter: DeadLetterFilter,
    is_grouped: bool,
    /// The same filter in SQL, for its query plan.
    condition: &'static str,
    /// Whether the read must find rows.
    finds: bool,
}

/// Returns every filter of the command line, and some combinations.
pub(crate) fn reads() -> Vec<Read> {
    let open = || DeadLetterFilter { state: Some(LetterState::Open), ..DeadLetterFilter::default() };
    let text = |text: &str| Some(text.to_owned());
    let list = |name, filter, condition| Read {
        name,
        company: None,
        filter,
        is_grouped: false,
        condition,
        finds: true,
    };
    let group = |name, filter, condition| Read {
        name,
        company: None,
        filter,
        is_grouped: true,
        condition,
        finds: true,
    };
    vec![
        list("list", open(), "state = 'open'"),
        list(
            "list, a page near the end",
            DeadLetterFilter { before_id: Some(500), ..open() },
            "state = 'open' AND id < 500",
        ),
        list(
            "list --reason",
            DeadLetterFilter { reason: text("wrong_tenant"), ..open() },
            "state = 'open' AND reason = 'wrong_tenant'",
        ),
        Read { company: Some(7), ..list("list --company", open(), "state = 'open' AND company_id = 7") },
        list(
            "list --host",
            DeadLetterFilter { host_id: Some(500), ..open() },
            "state = 'open' AND host_id = 500",
        ),
        list(
            "list --booking",
            DeadLetterFilter { booking_ref: text("bk123Qz"), ..open() },
            "state = 'open' AND booking_ref = 'bk123Qz'",
        ),
        list(
            "list --since --until",
            DeadLetterFilter {
                since_ms: Some(1_767_225_600_000),
                until_ms: Some(1_767_225_600_000 + 3_600_000),
                ..open()
            },
            "state = 'open' AND last_failed_ms >= 1767225600000 AND last_failed_ms < 1767229200000",
        ),
        list(
            "list --attempts",
            DeadLetterFilter { attempts: Some((Compare::AtLeast, 8)), ..open() },
            "state = 'open' AND attempts >= 8",
        ),
        list(
            "list --group",
            DeadLetterFilter { fingerprint: text("0000000000000000000000000000000f"), ..open() },
            "state = 'open' AND fingerprint >= '0000000000000000000000000000000f' \
             AND fingerprint < '0000000000000000000000000000000f~'",
        ),
        list(
            "list --text, one hit",
            DeadLetterFilter { text: text("event-4711"), ..open() },
            "state = 'open' AND LOWER(event_id) LIKE '%event-4711%'",
        ),
        Read {
            finds: false,
            ..list(
                "list --text, no hit",
                DeadLetterFilter { text: text("nowhere to be found"), ..open() },
                "state = 'open' AND LOWER(error) LIKE '%nowhere to be found%'",
            )
        },
        group("groups", open(), "state = 'open'"),
        Read { company: Some(7), ..group("groups --company", open(), "state = 'open' AND company_id = 7") },
        group(
            "groups --text",
            DeadLetterFilter { text: text("gateway has none"), ..open() },
            "state = 'open' AND LOWER(error) LIKE '%gateway has none%'",
        ),
    ]
}

impl Read {
    /// Runs the read, and returns the number of rows.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(crate) async fn run(&self, database: &Database) -> Result<usize> {
        let scope = Scope::of(self.company.map(CompanyId));
        Ok(if self.is_grouped {
            groups(database, &scope, &self.filter, 0, PAGE).await?.len()
        } else {
            dead_letter_summaries(database, &scope, &self.filter, PAGE).await?.len()
        })
    }

    /// Checks that the read found rows if it must, and none otherwise.
    ///
    /// # Errors
    /// Fails if the number of rows is wrong.
    pub(crate) fn check(&self, rows: usize, letters: u64) -> Result<()> {
        if letters < 10_000 || (rows > 0) == self.finds {
            return Ok(());
        }
        Err(format!("{}: {rows} rows", self.name).into())
    }

    /// Returns the query plan: the indexes that the database uses, in its own words.
    ///
    /// # Errors
    /// Fails if the query fails.
    pub(crate) async fn plan(&self, database: &Database) -> Result<String> {
        let condition = self.condition;
        let query = if self.is_grouped {
            format!(
                "SELECT fingerprint, reason, COUNT(*), COUNT(DISTINCT company_id), MIN(first_seen_ms), \
                 MAX(last_failed_ms), MIN(starts_ms), MAX(id) FROM hostmatch_dead_letters WHERE {condition} \
                 GROUP BY fingerprint, reason"
            )
        } else {
            format!(
                "SELECT id, error FROM hostmatch_dead_letters WHERE {condition} ORDER BY id DESC LIMIT {PAGE}"
            )
        };
        let (explain, column) = match database.backend() {
            DbBackend::MySql => ("EXPLAIN", "key"),
            DbBackend::Postgres => ("EXPLAIN (COSTS OFF)", "QUERY PLAN"),
            _ => ("EXPLAIN QUERY PLAN", "detail"),
        };
        let statement = Statement::from_string(database.backend(), format!("{explain} {query}"));
        let mut words = Vec::new();
        for row in database.connection().query_all_raw(statement).await? {
            let line: Option<String> = row.try_get("", column)?;
            let line = line.unwrap_or_else(|| "no index".to_owned());
            // PostgreSQL's plan has many lines; only those with a scan name an index.
            if database.backend() != DbBackend::Postgres || line.contains("Scan") {
                words.push(line.trim_start_matches([' ', '-', '>']).to_owned());
            }
        }
        Ok(words.join("; "))
    }
}
