//! A gateway, as a program of its own: it does to its appointments what a Laravel application does,
//! in several sessions at once, and tells how it fared. The tests let it run alone, and beside us.
//!
//! Its own transactions lock in one order (a member of staff, then appointments of one company by
//! id, then what its triggers touch), so that they never deadlock among themselves.

mod salon;
mod seen;

use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbErr, TransactionTrait as _,
};

use salon::{Random, Salon};
use seen::Seen;

/// Works on a gateway's appointments as the gateway itself would, and prints as JSON what it saw.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// The gateway's database.
    url: String,
    /// Sessions at once.
    #[arg(long, default_value_t = 4)]
    connections: u32,
    /// Transactions of each session.
    #[arg(long, default_value_t = 300)]
    rounds: u32,
    /// What is done, and to what, follows from this number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What a request does between two statements.
const THINK: Duration = Duration::from_millis(1);
/// … and between two transactions.
const PAUSE: Duration = Duration::from_millis(4);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let mut connect = ConnectOptions::new(&options.url);
    connect.max_connections(options.connections).sqlx_logging(false);
    let db = Database::connect(connect).await?;
    let salon = Arc::new(Salon::read(&db).await?);
    let order = Arc::new(AtomicU64::new(0));
    let sessions: Vec<_> = (0..options.connections)
        .map(|number| {
            let session = Session {
                db: db.clone(),
                salon: salon.clone(),
                order: order.clone(),
                random: Random::new(options.seed ^ (u64::from(number + 1) << 32)),
                name: format!("G{}-{number}", options.seed),
            };
            tokio::spawn(session.run(options.rounds))
        })
        .collect();
    let mut seen = Seen::default();
    for session in sessions {
        seen.add(session.await?);
    }
    Ok(writeln!(std::io::stdout(), "{}", seen.report())?)
}

/// One session: one request after the other.
struct Session {
    db: DatabaseConnection,
    salon: Arc<Salon>,
    /// Counts decisions while the row is locked: of two on one row, the greater was the later.
    order: Arc<AtomicU64>,
    random: Random,
    name: String,
}

/// A transaction: rows to lock, in this order, and then a change.
struct Request {
    locks: Vec<String>,
    changes: Vec<String>,
    /// The appointment and the member of staff that the gateway chose for it.
    decides: Option<(i64, String)>,
}

impl Session {
    async fn run(mut self, rounds: u32) -> Seen {
        let mut seen = Seen::default();
        for round in 0..rounds {
            let request = self.request(round);
            let begun = Instant::now();
            match self.transact(&request).await {
                Ok(order) => seen.committed(begun.elapsed(), order.zip(request.decides)),
                Err(error) => seen.failed(&error),
            }
            tokio::time::sleep(PAUSE).await;
        }
        seen
    }

    async fn transact(&self, request: &Request) -> Result<Option<u64>, DbErr> {
        let tx = self.db.begin().await?;
        let work = async {
            for lock in &request.locks {
                tx.query_all_raw(sea_orm::Statement::from_string(self.db.get_database_backend(), lock))
                    .await?;
                tokio::time::sleep(THINK).await;
            }
            for change in &request.changes {
                tx.execute_unprepared(change).await?;
            }
            Ok(request.decides.as_ref().map(|_| self.order.fetch_add(1, Ordering::SeqCst)))
        };
        match work.await {
            Ok(order) => {
                tx.commit().await?;
                Ok(order)
            }
            Err(error) => {
                tx.rollback().await?;
                Err(error)
            }
        }
    }

    /// The next thing that somebody wants of the gateway.
    fn request(&mut self, round: u32) -> Request {
        let company = self.random.of(&self.salon.companies);
        let appointment = self.random.of(&company.appointments);
        let (host, own) = (self.random.of(&company.hosts), self.random.of(&company.own));
        let appointments = |id: &i64| format!("SELECT * FROM appointments WHERE id = {id} FOR UPDATE");
        let staff = |id: &str| format!("SELECT * FROM staff WHERE id = '{id}' FOR UPDATE");
        let status = |id: &i64| {
            let now = self.salon.now;
            format!(
                "UPDATE appointments SET status = 'confirmed', starts_at = {now}, updated_at = {now} WHERE id = {id}"
            )
        };
        let request = |locks: Vec<String>, changes: Vec<String>| Request { locks, changes, decides: None };
        match self.random.of(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]) {
            // A new booking.
            0 => request(
                vec![],
                vec![format!(
                    "INSERT INTO appointments (company_id, calcom_v2_booking_id, status) \
                     VALUES ({}, '{}-{round}', 'pending')",
                    company.id, self.name
                )],
            ),
            // It moves.
            1 | 2 => request(vec![appointments(appointment)], vec![status(appointment)]),
            // The gateway's own rule, or a person, decides who does it.
            3 | 4 => Request {
                locks: vec![staff(own), appointments(appointment)],
                changes: vec![format!(
                    "UPDATE appointments SET staff_id = '{own}', calcom_host_id = 9, \
                     assignment_model_used = 'manual' WHERE id = {appointment}"
                )],
                decides: Some((*appointment, own.clone())),
            },
            // Is this person free then?
            5 | 6 => request(vec![staff(host), appointments(appointment)], vec![status(appointment)]),
            // Two appointments change places.
            7 => {
                let other = self.random.of(&company.appointments);
                let (first, second) = (appointment.min(other), appointment.max(other));
                let both = if first == second { vec![first] } else { vec![first, second] };
                request(
                    both.iter().map(|id| appointments(id)).collect(),
                    both.iter().map(|id| status(id)).collect(),
                )
            }
            8 => request(
                vec![],
                vec![format!("UPDATE staff SET calcom_user_id = '{round}' WHERE id = '{host}'")],
            ),
            _ => request(
                vec![appointments(appointment)],
                vec![format!(
                    "UPDATE appointments SET deleted_at = {} WHERE id = {appointment}",
                    self.salon.now
                )],
            ),
        }
    }
}
