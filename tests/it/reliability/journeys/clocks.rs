//! The full path of a booking while the clocks of a server in Berlin change: the same processes decide the
//! first bookings before the change, and the others after it.
//!
//! On MariaDB the clock is real, and the change really happens: the server's zone has Berlin's offsets, with
//! a rule that changes the clocks a few seconds after the start. On PostgreSQL the test defines a `now()`
//! that takes precedence over the built-in one, and advances it past Berlin's change.

use std::time::{Duration, Instant};

use time::macros::{datetime, format_description};
use time::{OffsetDateTime, PrimitiveDateTime};

use super::full_path::{DELETE_EXISTING_APPOINTMENTS, run_full_path_on};
use crate::support::mariadb::MariaDb;
use crate::support::{
    Backend, GatewayShape, Stack, TestDatabase, UpdatedAt, World, amqp_url, eventually, is_full,
};

/// One of the two changes, with its effect on the offset from UTC.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    SummerBegins,
    SummerEnds,
}

impl Change {
    /// Returns the hours east of UTC before the change and after it.
    fn offsets(self) -> [i64; 2] {
        match self {
            Self::SummerBegins => [1, 2],
            Self::SummerEnds => [2, 1],
        }
    }

    /// Returns the time of the change in Berlin, in the same year as the frozen clocks of other tests.
    fn in_berlin(self) -> OffsetDateTime {
        match self {
            Self::SummerBegins => datetime!(2026-03-29 01:00 UTC),
            Self::SummerEnds => datetime!(2026-10-25 01:00 UTC),
        }
    }

    /// Returns a zone like Berlin's whose clocks change at this moment.
    fn zone(self, at: OffsetDateTime) -> String {
        let local_time = at + Duration::from_secs(3600 * self.offsets()[0].unsigned_abs());
        let [hour, minute, second] = [local_time.hour(), local_time.minute(), local_time.second()];
        let rule = format!("{}/{hour}:{minute}:{second}", local_time.ordinal() - 1);
        match self {
            Self::SummerBegins => format!("CET-1CEST,{rule},365/23"),
            Self::SummerEnds => format!("CET-1CEST,0/0,{rule}"),
        }
    }
}

/// The clocks of one run.
pub(super) struct Clocks {
    change: Change,
    /// The clock that changes.
    source: ClockSource,
}

enum ClockSource {
    /// The server's clock, which changes by itself at this moment.
    Real(OffsetDateTime),
    /// A clock that the test advances; its lead over the server's clock in ms, before and after the change.
    Simulated([i64; 2]),
}

impl Clocks {
    /// Waits for the change, or makes it. Call it when the first appointment has been assigned.
    pub(super) async fn change(&self, world: &World) {
        match self.source {
            ClockSource::Real(moment) => {
                assert!(
                    OffsetDateTime::now_utc() < moment,
                    "the first booking was decided only after the change"
                );
                eventually("the clocks change", Duration::from_secs(180), async || {
                    (OffsetDateTime::now_utc() > moment).then_some(())
                })
                .await;
            }
            ClockSource::Simulated([_, after]) => world.run(&clock(after)).await,
        }
    }

    /// Checks that every `updated_at` is the local time at which it was written: with the old offset before
    /// the change, with the new one after it.
    pub(super) async fn assert_local_times(&self, world: &World) {
        let (zone, text) = match world.test.backend {
            Backend::MariaDb => ("SYSTEM", "CONCAT(a.id, '|', a.updated_at, '|', decided_ms)"),
            _ => (
                "Europe/Berlin",
                "a.id || '|' || to_char(a.updated_at, 'YYYY-MM-DD HH24:MI:SS') || '|' || decided_ms",
            ),
        };
        let query = format!(
            "SELECT {text} FROM appointments a JOIN hostmatch_assignments s ON s.appointment_id = a.id \
             WHERE a.staff_id IS NOT NULL ORDER BY a.id"
        );
        let lead = match self.source {
            ClockSource::Real(_) => [0, 0],
            ClockSource::Simulated(lead) => lead,
        };
        let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        let rows = world.test.strings_in_zone(zone, &query).await;
        assert!(rows.len() >= 4, "{rows:?}");
        for row in &rows {
            let [id, written, decided_ms] = row.split('|').collect::<Vec<_>>().try_into().unwrap();
            let after = usize::from(id != "1");
            let written =
                PrimitiveDateTime::parse(written, form).unwrap().assume_utc().unix_timestamp() * 1000;
            let offset = written - (decided_ms.parse::<i64>().unwrap() + lead[after]);
            let wrong = offset - self.change.offsets()[after] * 3_600_000;
            assert!(wrong.abs() < 60_000, "{:?}: {:?}: {row}: off by {wrong} ms", world.test, self.change);
        }
    }
}

/// Returns the statement that defines a clock this many ms ahead of the server's, which takes precedence over it.
fn clock(lead: i64) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql VOLATILE AS \
         $$ SELECT pg_catalog.clock_timestamp() + interval '{lead} milliseconds' $$"
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tables {
    Fresh,
    Adopted,
}

/// Returns each kind of `updated_at` for these tables; both changes separately in a full run.
fn runs(tables: Tables) -> Vec<(UpdatedAt, Change)> {
    use Change::{SummerBegins, SummerEnds};
    let mut runs = match tables {
        Tables::Fresh => vec![(UpdatedAt::Instant, SummerEnds), (UpdatedAt::Local, SummerBegins)],
        Tables::Adopted => vec![(UpdatedAt::Instant, SummerBegins), (UpdatedAt::Local, SummerEnds)],
    };
    if is_full() {
        runs.extend(match tables {
            Tables::Fresh => [(UpdatedAt::Instant, SummerBegins), (UpdatedAt::Local, SummerEnds)],
            Tables::Adopted => [(UpdatedAt::Instant, SummerEnds), (UpdatedAt::Local, SummerBegins)],
        });
    }
    runs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_with_new_tables() {
    on_mariadb(Tables::Fresh).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_with_adopted_tables() {
    on_mariadb(Tables::Adopted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgresql_with_new_tables() {
    on_postgresql(Tables::Fresh).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgresql_with_adopted_tables() {
    on_postgresql(Tables::Adopted).await;
}

async fn on_mariadb(tables: Tables) {
    // If MariaDB is not installed, there is no server whose zone could be set.
    let began = Instant::now();
    let Some(mut server) = MariaDb::start().await else { return };
    for (updated_at, change) in runs(tables) {
        let shape = GatewayShape::Production(updated_at);
        let test =
            create_tables(TestDatabase::fresh_on(server.url(), Backend::MariaDb, shape).await, tables).await;
        // On a busy machine everything takes longer.
        let delay = Duration::from_secs(10).max(began.elapsed().min(Duration::from_secs(60)));
        let at = OffsetDateTime::now_utc() + delay;
        server.stop().await;
        server.run_in(change.zone(at)).await;
        let clocks = Clocks { change, source: ClockSource::Real(at) };
        run_across_change(test.reconnected().await, clocks).await;
    }
}

async fn on_postgresql(tables: Tables) {
    for (updated_at, change) in runs(tables) {
        let shape = GatewayShape::Production(updated_at);
        let test = create_tables(TestDatabase::fresh(Backend::Postgres, shape).await, tables).await;
        let to_change = (change.in_berlin() - OffsetDateTime::now_utc()).whole_milliseconds();
        let to_change = i64::try_from(to_change).unwrap();
        let hour = 3_600_000;
        let lead = [to_change - hour / 2, to_change];
        let name = test.name();
        test.run(&[
            "CREATE SCHEMA clock".to_owned(),
            clock(lead[0]),
            format!("ALTER DATABASE {name} SET search_path = public, clock, pg_catalog"),
            format!("ALTER DATABASE {name} SET timezone = 'Europe/Berlin'"),
        ])
        .await;
        let clocks = Clocks { change, source: ClockSource::Simulated(lead) };
        run_across_change(test.reconnected().await, clocks).await;
    }
}

async fn create_tables(test: TestDatabase, tables: Tables) -> TestDatabase {
    match tables {
        Tables::Fresh => drop(migration::up(test.db.connection()).await.unwrap()),
        Tables::Adopted => {
            let test = test.with_adopted().await;
            test.run(&DELETE_EXISTING_APPOINTMENTS).await;
            return test;
        }
    }
    test
}

async fn run_across_change(test: TestDatabase, clocks: Clocks) {
    let stack = Stack::on(World::in_database(test, &[]).await, Some(amqp_url())).await;
    run_full_path_on(stack, &["all"], Some(&clocks)).await;
}
