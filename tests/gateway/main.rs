//! A gateway as a separate program: it changes appointments as a Laravel application does, in several
//! concurrent sessions, and reports what happened. The tests run it alone and at the same time as hostmatch.
//!
//! Its own transactions lock in one order, so that they never deadlock among themselves: a member of staff,
//! then appointments of one company by id, then the rows that its triggers touch. When it maps hosts
//! itself, the order is appointments, then staff, as an UPDATE of an appointment locks them, then
//! mappings.

mod matcher;
mod results;
mod data;

use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbErr, TransactionTrait as _,
};

use data::{Company, GatewayData, Random};
use matcher::Mapping;
use results::Results;

/// Changes a gateway's appointments as the gateway itself would, and prints the results as JSON.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// The gateway's database.
    url: String,
    /// Number of concurrent sessions.
    #[arg(long, default_value_t = 4)]
    connections: u32,
    /// Number of transactions per session.
    #[arg(long, default_value_t = 300)]
    rounds: u32,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Uses the gateway's own matcher, which maps hosts in tables that the gateway's migrations created.
    #[arg(long)]
    maps: bool,
}

/// The pause between two statements of a request.
const STATEMENT_PAUSE: Duration = Duration::from_millis(1);
/// The pause between two transactions.
const TRANSACTION_PAUSE: Duration = Duration::from_millis(4);
/// The first id of the hosts that only the gateway maps.
const FIRST_NEW_HOST: i64 = 500_000_000;
/// The number of Cal.com accounts of each person: hosts `1000 * n + person`, with `n` from 1.
const ACCOUNTS_PER_PERSON: i64 = 60;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let mut connect = ConnectOptions::new(&options.url);
    connect.max_connections(options.connections).sqlx_logging(false);
    let db = Database::connect(connect).await?;
    let data = Arc::new(GatewayData::read(&db).await?);
    let order = Arc::new(AtomicU64::new(0));
    let sessions: Vec<_> = (0..options.connections)
        .map(|number| {
            let session = Session {
                db: db.clone(),
                data: data.clone(),
                order: order.clone(),
                random: Random::new(options.seed ^ (u64::from(number + 1) << 32)),
                name: format!("G{}-{number}", options.seed),
                number: i64::from(number),
                sessions: i64::from(options.connections),
                maps: options.maps,
                new_host: FIRST_NEW_HOST
                    + i64::try_from(options.seed).unwrap_or_default() * 10_000
                    + i64::from(number) * 1000,
            };
            tokio::spawn(session.run(options.rounds))
        })
        .collect();
    let mut results = Results::default();
    for session in sessions {
        results.add(session.await?);
    }
    Ok(writeln!(std::io::stdout(), "{}", results.report())?)
}

/// One session: one request after another.
struct Session {
    db: DatabaseConnection,
    data: Arc<GatewayData>,
    /// Numbers the decisions while the row is locked: of two decisions on one row, the later has the
    /// greater number.
    order: Arc<AtomicU64>,
    random: Random,
    name: String,
    number: i64,
    sessions: i64,
    maps: bool,
    /// The newest host that this session has mapped first.
    new_host: i64,
}

/// A transaction: it locks rows in this order, perhaps maps a host, and then changes rows.
struct Request {
    locks: Vec<String>,
    maps: Option<Mapping>,
    changes: Vec<String>,
    /// The appointment and the member of staff that the gateway chose for it.
    decides: Option<(i64, String)>,
}

/// The result of a transaction.
struct Done {
    /// The number of its decision in the order of all decisions, if it made one.
    order: Option<u64>,
    /// Whether it created a mapping.
    mapped: bool,
}

impl Session {
    async fn run(mut self, rounds: u32) -> Results {
        let mut results = Results::default();
        for round in 0..rounds {
            let request = self.request(round);
            let began = Instant::now();
            match self.transact(&request).await {
                Ok(Done { order, mapped }) => {
                    results.record_commit(began.elapsed(), order.zip(request.decides), mapped);
                }
                Err(error) => results.record_failure(&error),
            }
            tokio::time::sleep(TRANSACTION_PAUSE).await;
        }
        results
    }

    async fn transact(&self, request: &Request) -> Result<Done, DbErr> {
        let tx = self.db.begin().await?;
        let work = async {
            for lock in &request.locks {
                tx.query_all_raw(sea_orm::Statement::from_string(self.db.get_database_backend(), lock))
                    .await?;
                tokio::time::sleep(STATEMENT_PAUSE).await;
            }
            let mapped = match &request.maps {
                Some(mapping) => mapping.first_or_create(&tx).await?,
                None => false,
            };
            let mut changed = 0;
            for change in &request.changes {
                changed = tx.execute_unprepared(change).await?.rows_affected();
            }
            // If the member of staff was already set, nothing was decided.
            let decides = request.decides.is_some() && changed > 0;
            Ok(Done { order: decides.then(|| self.order.fetch_add(1, Ordering::SeqCst)), mapped })
        };
        match work.await {
            Ok(done) => {
                tx.commit().await?;
                Ok(done)
            }
            Err(error) => {
                tx.rollback().await?;
                Err(error)
            }
        }
    }

    /// Chooses the next request to the gateway.
    fn request(&mut self, round: u32) -> Request {
        let data = self.data.clone();
        let company = self.random.pick(&data.companies);
        let appointment = self.random.pick(&company.appointments);
        let (host, own_staff) = (self.random.pick(&company.hosts), self.random.pick(&company.without_email));
        let appointments = |id: &i64| format!("SELECT * FROM appointments WHERE id = {id} FOR UPDATE");
        let staff = |id: &str| format!("SELECT * FROM staff WHERE id = '{id}' FOR UPDATE");
        let status = |id: &i64| {
            let now = data.now;
            format!(
                "UPDATE appointments SET status = 'confirmed', starts_at = {now}, updated_at = {now} WHERE id = {id}"
            )
        };
        let request =
            |locks: Vec<String>, changes: Vec<String>| Request { locks, maps: None, changes, decides: None };
        let both_locks = |person: &str, appointment: &i64| {
            let locks = [staff(person), appointments(appointment)];
            if self.maps { locks.into_iter().rev().collect() } else { locks.to_vec() }
        };
        let kinds = if self.maps { 13 } else { 10 };
        match self.random.pick(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12][..kinds]) {
            // A new booking.
            0 => request(
                vec![],
                vec![format!(
                    "INSERT INTO appointments (company_id, calcom_v2_booking_id, status) \
                     VALUES ({}, '{}-{round}', 'pending')",
                    company.id, self.name
                )],
            ),
            // The booking is rescheduled.
            1 | 2 => request(vec![appointments(appointment)], vec![status(appointment)]),
            // The gateway's own rule, or a person, chooses the member of staff.
            3 | 4 => Request {
                locks: both_locks(own_staff, appointment),
                maps: None,
                changes: vec![format!(
                    "UPDATE appointments SET staff_id = '{own_staff}', calcom_host_id = 9, \
                     assignment_model_used = 'manual' WHERE id = {appointment}"
                )],
                decides: Some((*appointment, own_staff.clone())),
            },
            // The gateway checks whether this member of staff is available.
            5 | 6 => request(both_locks(host, appointment), vec![status(appointment)]),
            // Two appointments are swapped.
            7 => {
                let other = self.random.pick(&company.appointments);
                let (first, second) = (appointment.min(other), appointment.max(other));
                let ids = if first == second { vec![first] } else { vec![first, second] };
                request(
                    ids.iter().map(|id| appointments(id)).collect(),
                    ids.iter().map(|id| status(id)).collect(),
                )
            }
            8 => request(
                vec![],
                vec![format!("UPDATE staff SET calcom_user_id = '{round}' WHERE id = '{host}'")],
            ),
            9 => request(
                vec![appointments(appointment)],
                vec![format!("UPDATE appointments SET deleted_at = {} WHERE id = {appointment}", data.now)],
            ),
            _ => self.match_host(company, *appointment),
        }
    }

    /// Lets the gateway's matcher resolve a host, map it and assign the appointment. The host is usually new
    /// to the gateway, and sometimes one whose events hostmatch gets too.
    ///
    /// Each session has its own staff (there are more staff than sessions), so that two sessions never
    /// map the same host.
    fn match_host(&mut self, company: &Company, appointment: i64) -> Request {
        let is_new = *self.random.pick(&[true, true, false]);
        let own_staff_share: Vec<&String> = company
            .hosts
            .iter()
            .zip(0..)
            .filter(|(_, n)| n % self.sessions == self.number)
            .map(|(staff, _)| staff)
            .collect();
        let staff = (*self.random.pick(&own_staff_share)).clone();
        let person: i64 = staff.trim().rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or_default();
        let host = if is_new {
            self.new_host += 1;
            self.new_host
        } else {
            let account = self.random.pick(&(1..=ACCOUNTS_PER_PERSON).collect::<Vec<_>>()) * 1000;
            account + person
        };
        Request {
            // Eloquent's `lockForUpdate`, which some applications call first.
            locks: vec![format!("SELECT * FROM appointments WHERE id = {appointment} FOR UPDATE")],
            changes: vec![format!(
                "UPDATE appointments SET staff_id = '{staff}', calcom_host_id = {host} WHERE id = {appointment} \
                 AND (staff_id IS NULL OR staff_id <> '{staff}')"
            )],
            decides: Some((appointment, staff.clone())),
            maps: Some(Mapping { host, staff }),
        }
    }
}
