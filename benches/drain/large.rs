//! Compares a large installation with a small one, in the same database: what does an event cost if a company
//! has 10,000 members of staff, a host has 100,000 appointments, and there are a million assignments?

use std::path::Path;
use std::time::{Duration, Instant};

use sea_orm::DbBackend;
use tokio::time::sleep;

use crate::Result;
use crate::bookings::{self, Booking, Kind};
use crate::broker::Broker;
use crate::costs::{Costs, Watched};
use crate::database::Engine;
use crate::filling;
use crate::salon::{self, Salon};
use crate::workers::{self, Setup};

/// The number of events of each case.
const EVENTS: u64 = 10_000;
/// The number of appointments that are already decided, and the distance between ranges of keys.
const MILLION: u64 = 1_000_000;
/// The number of appointments that wait for one host.
const WAITING: u64 = 100_000;
/// The first key of these appointments.
const FIRST_OLD_KEY: u64 = 10_000_000;
/// The maximum number of rows of one statement.
const MAX_ROWS: u64 = 50_000;

/// The company with many members of staff, and their number.
const COMPANY: u64 = bookings::COMPANIES + 1;
const STAFF: u64 = 10_000;

/// Companies with few members of staff, for events before and after the database has grown.
const SMALL: [u64; 2] = [1, 2];
/// The host for which many appointments wait, and the host for which one waits.
const LEARNED: [(u64, u64); 2] = [(3, 1), (4, 1)];

/// The number of a company's hosts that have the address of a member of staff and are mapped from the start.
const KNOWN: u64 = 46;

/// Measures every case, and reports each result at once.
///
/// # Errors
/// Fails if something cannot be measured, or is decided wrongly.
pub(crate) async fn measure(
    engine: Engine,
    directory: &Path,
    mut report: impl FnMut(String, Option<Costs>) -> Result<()>,
) -> Result<()> {
    let salon = Salon::open(engine, directory, 0).await?;
    let measured = async {
        let mut run = Run { salon: &salon, watched: Watched::of(engine), directory, next: 1 };
        run.map_hosts(SMALL[0], KNOWN).await?;
        report("small: known hosts".into(), Some(run.measure_case(SMALL[0], Kind::Email, KNOWN).await?))?;
        report("small: unknown hosts".into(), Some(run.measure_case(SMALL[0], Kind::Nobody, 50).await?))?;
        report(run.measure_learning(LEARNED[1], 1).await?, None)?;
        run.grow().await?;
        report(
            "large: known, small company".into(),
            Some(run.measure_case(SMALL[1], Kind::Email, KNOWN).await?),
        )?;
        report(
            "large: unknown, small company".into(),
            Some(run.measure_case(SMALL[1], Kind::Nobody, 50).await?),
        )?;
        report(
            "large: known, 10,000 staff".into(),
            Some(run.measure_case(COMPANY, Kind::Email, KNOWN).await?),
        )?;
        report(
            "large: unknown, 10,000 staff".into(),
            Some(run.measure_case(COMPANY, Kind::Nobody, STAFF).await?),
        )?;
        report(run.measure_learning(LEARNED[0], WAITING).await?, None)
    };
    let measured = measured.await;
    salon.scratch.remove().await?;
    measured
}

struct Run<'a> {
    salon: &'a Salon,
    watched: Watched,
    directory: &'a Path,
    /// The key of the next appointment.
    next: u64,
}

impl Run<'_> {
    /// Measures events about hosts of one company: known hosts are any of the first `last`, unknown hosts the
    /// last two.
    async fn measure_case(&mut self, company: u64, kind: Kind, last: u64) -> Result<Costs> {
        let first = self.next;
        self.next += EVENTS;
        let one = |n: u64| {
            let member = if kind == Kind::Email { n % last + 1 } else { last - n % 2 };
            Booking { appointment: first + n, company, kind, member }
        };
        self.insert_appointments((0..EVENTS).map(one)).await?;
        let broker = Broker::open().await?;
        filling::publish(&broker, (0..EVENTS).map(one)).await?;
        let (setup, salon) = (Setup::default(), self.salon);
        let costs = workers::run(&setup, &broker, salon, EVENTS, &self.watched, self.directory).await;
        broker.remove().await?;
        let until = first + EVENTS;
        let assigned = self.count_assigned(first..until).await?;
        if assigned == if kind == Kind::Email { EVENTS } else { 0 } {
            costs
        } else {
            Err(format!("{assigned} of {EVENTS} appointments of {company} have staff").into())
        }
    }

    /// Measures the event by which a host becomes known for whom this many appointments wait.
    async fn measure_learning(&mut self, (company, member): (u64, u64), waiting: u64) -> Result<String> {
        let booking = Booking { appointment: self.next, company, kind: Kind::Email, member };
        self.next += 1;
        let first = FIRST_OLD_KEY + MILLION * company;
        self.insert_decided(first, waiting, &company.to_string(), &member.to_string(), "unmatched").await?;
        self.insert_appointments(std::iter::once(booking)).await?;
        let broker = Broker::open().await?;
        let mut workers = Setup::default().start(&broker, self.salon, self.directory)?;
        while broker.inspect().await?.1 == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        let before = self.salon.count_decided().await?;
        let began = Instant::now();
        filling::publish(&broker, std::iter::once(booking)).await?;
        while self.salon.count_decided().await? == before {
            workers::ensure_before(began + Duration::from_secs(60), &mut workers)?;
            sleep(Duration::from_millis(1)).await;
        }
        let first_decided = began.elapsed();
        while self.count_assigned(first..first + waiting).await? < waiting {
            workers::ensure_before(began + Duration::from_secs(300), &mut workers)?;
            sleep(Duration::from_millis(100)).await;
        }
        let all = began.elapsed();
        for worker in workers {
            worker.stop().await?;
        }
        broker.remove().await?;
        let (first, all) = (first_decided.as_secs_f64() * 1e3, all.as_secs_f64());
        Ok(format!("host learned, {waiting} wait for it: {first:.0} ms, and all after {all:.1} s"))
    }

    /// Adds the rows that make the installation a large one.
    async fn grow(&mut self) -> Result<()> {
        let scratch = &self.salon.scratch;
        scratch.insert("companies (id, name)", std::iter::once(format!("({COMPANY}, 'Large')"))).await?;
        let staff = (1..=STAFF).map(|member| salon::staff_row(COMPANY, member));
        scratch.insert("staff (id, company_id, first_name, last_name, email)", staff).await?;
        self.map_hosts(COMPANY, KNOWN).await?;
        self.map_hosts(SMALL[1], KNOWN).await?;
        // No event of this benchmark is about the companies 5 to 20.
        self.insert_decided(
            FIRST_OLD_KEY + 100 * MILLION,
            MILLION,
            "s.seq % 16 + 5",
            "s.seq % 46 + 1",
            "assigned",
        )
        .await?;
        self.salon.analyze().await
    }

    /// Inserts appointments that are already decided, with or without staff.
    async fn insert_decided(
        &self,
        first: u64,
        count: u64,
        company: &str,
        member: &str,
        outcome: &str,
    ) -> Result<()> {
        let is_postgres = self.salon.scratch.database.backend() == DbBackend::Postgres;
        let staff = match outcome {
            "assigned" => format!("({company}) * 100000 + {member}"),
            _ => "NULL".to_owned(),
        };
        let host = format!("1000000 + ({company}) * 1000 + {member}");
        let uid = "CONCAT('old', s.seq)";
        for from in (first..first + count).step_by(usize::try_from(MAX_ROWS)?) {
            let to = (from + MAX_ROWS).min(first + count) - 1;
            let numbers = match is_postgres {
                true => format!("generate_series({from}, {to}) AS s(seq)"),
                false => format!("seq_{from}_to_{to} s"),
            };
            for (columns, values) in [
                (
                    "appointments (id, company_id, staff_id, calcom_host_id, calcom_v2_booking_id)",
                    format!("s.seq, {company}, {staff}, {host}, {uid}"),
                ),
                (
                    "hostmatch_assignments (appointment_id, company_id, staff_id, event_id, event_time_ms, \
                     host_id, host_email, host_source, outcome, booking_ref, starts_ms, decided_ms)",
                    format!(
                        "s.seq, {company}, {staff}, CONCAT('e', s.seq), 1, {host}, 'h@salon.example', 'hosts', \
                         '{outcome}', {uid}, s.seq, 1"
                    ),
                ),
            ] {
                let insert = format!("INSERT INTO {columns} SELECT {values} FROM {numbers}");
                self.salon.scratch.run(&insert).await?;
            }
        }
        Ok(())
    }

    async fn insert_appointments(&self, all: impl Iterator<Item = Booking>) -> Result<()> {
        let rows = all.map(|one| format!("({}, {}, '{}')", one.appointment, one.company, one.uid()));
        self.salon.scratch.insert("appointments (id, company_id, calcom_v2_booking_id)", rows).await
    }

    async fn map_hosts(&self, company: u64, last: u64) -> Result<()> {
        let columns = "calcom_host_mappings (company_id, staff_id, calcom_host_id, calcom_name, calcom_email, \
                       mapping_source, confidence_score)";
        let row = |member| {
            let one = Booking { appointment: 0, company, kind: Kind::Email, member };
            let (staff, host) = (salon::staff_id(company, member), one.host());
            let email = bookings::email(company, member);
            format!("({company}, {staff}, {host}, 'Host', '{email}', 'auto_email', 95)")
        };
        self.salon.scratch.insert(columns, (1..=last).map(row)).await
    }

    async fn count_assigned(&self, ids: std::ops::Range<u64>) -> Result<u64> {
        let (from, to) = (ids.start, ids.end);
        let query = format!(
            "SELECT COUNT(*) FROM appointments WHERE id >= {from} AND id < {to} AND staff_id IS NOT NULL"
        );
        self.salon.scratch.number(&query).await
    }
}
