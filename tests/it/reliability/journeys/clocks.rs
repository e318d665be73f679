//! The full path of a booking while the clocks of a server in Berlin change: the same processes decide the
//! first bookings before the change, and the others after it.
//!
//! On MariaDB the clock is real, and the change really happens: the server's zone has Berlin's offsets, with
//! a rule that changes the clocks a few seconds after the start. On PostgreSQL the test defines a `now()`
//! that takes precedence over the built-in one, and advances it past Berlin's change.

use std::time::{Duration, Instant};

use time::macros::{datetime, format_description};
use time::{OffsetDateTime, PrimitiveDateTime};

use super::full_path::{WITHOUT_THEIR_APPOINTMENTS, run_full_path_on};
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
        let on_the_wall = at + Duration::from_secs(3600 * self.offsets()[0].unsigned_abs());
        let [hour, minute, second] = [on_the_wall.hour(), on_the_wall.minute(), on_the_wall.second()];
        let rule = format!("{}/{hour}:{minute}:{second}", on_the_wall.ordinal() - 1);
        match self {
            Self::SummerBegins => format!("CET-1CEST,{rule},365/23"),
            Self::SummerEnds => format!("CET-1CEST,0/0,{rule}"),
        }
    }
}

/// The clocks of one run.
pub(super) struct Clocks {
    change: Change,
    /// The way in which the clocks change.
    comes: Comes,
}

enum Comes {
    /// The clocks change by themselves, at this moment.
    At(OffsetDateTime),
    /// The test advances the database's clock; its lead over the real one in ms, before and after.
    Forward([i64; 2]),
}

impl Clocks {
    /// Makes the clocks change. Call it when the first appointment has been assigned.
    pub(super) async fn change(&self, world: &World) {
        match self.comes {
            Comes::At(moment) => {
                assert!(OffsetDateTime::now_utc() < moment, "the first booking took too long");
                eventually("the clocks change", Duration::from_secs(180), async || {
                    (OffsetDateTime::now_utc() > moment).then_some(())
                })
                .await;
            }
            Comes::Forward([_, after]) => world.run(&clock(after)).await,
        }
    }

    /// Checks that every `updated_at` is the local time at which it was written: with the old offset before
    /// the change, with the new one after it.
    pub(super) async fn were_right(&self, world: &World) {
        let (zone, text) = match world.test.backend {
            Backend::MariaDb => ("SYSTEM", "CONCAT(a.id, '|', a.updated_at, '|', decided_ms)"),
            _ => (
                "Europe/Berlin",
                "a.id || '|' || to_char(a.updated_at, 'YYYY-MM-DD HH24:MI:SS') || '|' || decided_ms",
            ),
        };
        let written = format!(
            "SELECT {text} FROM appointments a JOIN hostmatch_assignments s ON s.appointment_id = a.id \
             WHERE a.staff_id IS NOT NULL ORDER BY a.id"
        );
        let ahead = match self.comes {
            Comes::At(_) => [0, 0],
            Comes::Forward(ahead) => ahead,
        };
        let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        let rows = world.test.texts_in(zone, &written).await;
        assert!(rows.len() >= 4, "{rows:?}");
        for row in &rows {
            let [id, shown, decided_ms] = row.split('|').collect::<Vec<_>>().try_into().unwrap();
            let is_after = usize::from(id != "1");
            let shown = PrimitiveDateTime::parse(shown, form).unwrap().assume_utc().unix_timestamp() * 1000;
            let offset = shown - (decided_ms.parse::<i64>().unwrap() + ahead[is_after]);
            let wrong = offset - self.change.offsets()[is_after] * 3_600_000;
            assert!(wrong.abs() < 60_000, "{:?}: {:?}: {row}: off by {wrong} ms", world.test, self.change);
        }
    }
}

/// Returns a clock that is this many ms ahead of the server's, and that takes precedence over it.
fn clock(ahead: i64) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql VOLATILE AS \
         $$ SELECT pg_catalog.clock_timestamp() + interval '{ahead} milliseconds' $$"
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
    let begun = Instant::now();
    let Some(mut server) = MariaDb::start().await else { return };
    for (updated_at, change) in runs(tables) {
        let shape = GatewayShape::Production(updated_at);
        let test =
            create_tables(TestDatabase::fresh_on(server.url(), Backend::MariaDb, shape).await, tables).await;
        // On a busy machine everything takes longer.
        let soon = Duration::from_secs(10).max(begun.elapsed().min(Duration::from_secs(60)));
        let at = OffsetDateTime::now_utc() + soon;
        server.stop().await;
        server.run_in(change.zone(at)).await;
        let clocks = Clocks { change, comes: Comes::At(at) };
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
        let ahead = [to_change - hour / 2, to_change];
        let name = test.name();
        test.run(&[
            "CREATE SCHEMA clock".to_owned(),
            clock(ahead[0]),
            format!("ALTER DATABASE {name} SET search_path = public, clock, pg_catalog"),
            format!("ALTER DATABASE {name} SET timezone = 'Europe/Berlin'"),
        ])
        .await;
        let clocks = Clocks { change, comes: Comes::Forward(ahead) };
        run_across_change(test.reconnected().await, clocks).await;
    }
}

async fn create_tables(test: TestDatabase, tables: Tables) -> TestDatabase {
    match tables {
        Tables::Fresh => drop(migration::up(test.db.connection()).await.unwrap()),
        Tables::Adopted => {
            let test = test.with_adopted().await;
            test.run(&WITHOUT_THEIR_APPOINTMENTS).await;
            return test;
        }
    }
    test
}

async fn run_across_change(test: TestDatabase, clocks: Clocks) {
    let stack = Stack::on(World::in_database(test, &[]).await, Some(amqp_url())).await;
    run_full_path_on(stack, &["all"], Some(&clocks)).await;
}
