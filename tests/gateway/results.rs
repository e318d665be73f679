//! The results of the gateway: what was committed, what failed and why, how long it took.

use std::collections::BTreeMap;
use std::time::Duration;

use sea_orm::sqlx::mysql::MySqlDatabaseError;
use sea_orm::{DbErr, RuntimeErr};
use serde_json::{Value, json};

#[derive(Default)]
pub(crate) struct Results {
    times: Vec<Duration>,
    deadlocks: u32,
    lock_wait_timeouts: u32,
    /// Failed inserts: another session had already inserted the row.
    duplicates: u32,
    /// The mappings that the gateway created.
    mapped: u32,
    others: Vec<String>,
    /// For each appointment the last decision, and its number in the order of all decisions.
    decisions: BTreeMap<i64, (u64, String)>,
}

impl Results {
    pub(crate) fn record_commit(
        &mut self,
        took: Duration,
        decision: Option<(u64, (i64, String))>,
        mapped: bool,
    ) {
        self.times.push(took);
        self.mapped += u32::from(mapped);
        if let Some((order, (appointment, staff))) = decision {
            self.record_decision(appointment, order, staff);
        }
    }

    fn record_decision(&mut self, appointment: i64, order: u64, staff: String) {
        let last = self.decisions.entry(appointment).or_insert_with(|| (order, staff.clone()));
        if last.0 < order {
            *last = (order, staff);
        }
    }

    pub(crate) fn record_failure(&mut self, error: &DbErr) {
        match code(error).as_deref() {
            Some("1213" | "40P01") => self.deadlocks += 1,
            Some("1205" | "55P03") => self.lock_wait_timeouts += 1,
            Some("1062" | "23505") => self.duplicates += 1,
            _ => self.others.push(error.to_string()),
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.deadlocks += other.deadlocks;
        self.lock_wait_timeouts += other.lock_wait_timeouts;
        self.duplicates += other.duplicates;
        self.mapped += other.mapped;
        self.others.extend(other.others);
        for (appointment, (order, staff)) in other.decisions {
            self.record_decision(appointment, order, staff);
        }
    }

    pub(crate) fn report(mut self) -> Value {
        self.times.sort_unstable();
        let last = self.times.len().saturating_sub(1);
        let at = |per_mille: usize| {
            let time = self.times.get(last * per_mille / 1000).copied().unwrap_or_default();
            (time.as_secs_f64() * 10_000.0).round() / 10.0
        };
        let decisions: BTreeMap<i64, String> =
            self.decisions.into_iter().map(|(appointment, (_, staff))| (appointment, staff)).collect();
        json!({
            "transactions": self.times.len(), "deadlocks": self.deadlocks,
            "lock_wait_timeouts": self.lock_wait_timeouts, "other_errors": self.others,
            "duplicates": self.duplicates, "mapped": self.mapped,
            "milliseconds": { "p50": at(500), "p95": at(950), "p99": at(990), "max": at(1000) },
            "decisions": decisions,
        })
    }
}

fn code(error: &DbErr) -> Option<String> {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return None;
    };
    let error = error.as_database_error()?;
    match error.try_downcast_ref::<MySqlDatabaseError>() {
        Some(error) => Some(error.number().to_string()),
        None => error.code().map(|code| code.into_owned()),
    }
}
