//! What operators look for among dead letters, as columns of their own, and an index for each way
//! of looking. `closed_ms`: since when one is resolved, skipped or discarded.

use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect::Dialect;
use crate::names;
use crate::op::{Op, Probe};
use crate::step::Step;

const TABLE: &str = names::DEAD_LETTERS;

pub(super) const STEP: Step =
    Step { name: "m0009_dead_letters_filters", makes: (TABLE, Some("host_id")), ops };

const COLUMNS: [(&str, &str); 4] = [
    ("host_id", "BIGINT NULL"),
    ("starts_ms", "BIGINT NULL"),
    ("replays", "INT NOT NULL DEFAULT 0"),
    ("closed_ms", "BIGINT NULL"),
];

/// The last one holds everything that a list of groups is made of.
const INDEXES: [(&str, &str); 8] = [
    ("idx_company", "company_id, state, id"),
    ("idx_event_type", "event_type, id"),
    ("idx_booking", "booking_ref, id"),
    ("idx_host", "host_id, id"),
    ("idx_last_failed", "last_failed_ms, id"),
    ("idx_attempts", "attempts, id"),
    ("idx_closed", "closed_ms, id"),
    ("idx_groups", "state, fingerprint, reason, company_id, starts_ms, first_seen_ms, last_failed_ms, id"),
];

fn ops(d: &Dialect) -> Vec<Op> {
    if d.is_mysql() { vec![at_once(d)] } else { one_by_one(d.backend) }
}

/// All of it in one statement, which is carried out or is not.
fn at_once(d: &Dialect) -> Op {
    let add = COLUMNS.iter().map(|(name, definition)| format!("ADD COLUMN {name} {definition}"));
    let add: Vec<String> =
        add.chain(INDEXES.iter().map(|(name, of)| format!("ADD INDEX {name} ({of})"))).collect();
    let drop = INDEXES.iter().map(|(name, _)| format!("DROP INDEX {name}"));
    let drop: Vec<String> =
        drop.chain(COLUMNS.iter().map(|(name, _)| format!("DROP COLUMN {name}"))).collect();
    Op {
        make: Some(format!("ALTER TABLE {TABLE} {}", add.join(", "))),
        undo: Some(format!("ALTER TABLE {TABLE} {}", drop.join(", "))),
        probe: Probe::on(d.backend).column(TABLE, "host_id"),
    }
}

/// In a transaction with everything else.
fn one_by_one(backend: DbBackend) -> Vec<Op> {
    // Groups are found by how their fingerprint begins, and the other engines compare it by its bytes.
    let collation = |name: &str| {
        Some(format!("ALTER TABLE {TABLE} ALTER COLUMN fingerprint TYPE VARCHAR(64) COLLATE \"{name}\""))
    };
    let by_bytes = Op { make: collation("C"), undo: collation("default"), probe: None };
    let by_bytes = (backend == DbBackend::Postgres).then_some(by_bytes);
    let columns = COLUMNS.iter().map(|(name, definition)| Op {
        make: Some(format!("ALTER TABLE {TABLE} ADD COLUMN {name} {definition}")),
        undo: Some(format!("ALTER TABLE {TABLE} DROP COLUMN {name}")),
        probe: None,
    });
    // Index names are shared by the whole schema there.
    let indexes = INDEXES.iter().map(|(name, of)| Op {
        make: Some(format!("CREATE INDEX {TABLE}_{name} ON {TABLE} ({of})")),
        undo: Some(format!("DROP INDEX {TABLE}_{name}")),
        probe: None,
    });
    by_bytes.into_iter().chain(columns).chain(indexes).collect()
}
