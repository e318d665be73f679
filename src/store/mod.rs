//! The gateway's database: connecting to it, what its tables look like, and our own rows in it.
//!
//! Everything here works on MariaDB/MySQL, PostgreSQL and SQLite, and on integer, text and native
//! UUID keys: what differs is looked up once, in [`GatewaySchema`], and never configured by hand.
//!
//! Whatever asks the database may fail with a [`StoreError`], which says what to do about it. A function's
//! comment speaks of errors only where it has more to say than that.

mod prelude;
mod error;
mod connection;
mod clock;
mod gateway;
mod values;
pub mod entity;
mod row_reader;
mod version;
mod statement;
mod taken_ids;
mod staff;
mod mappings;
mod find;
mod rows;
mod hosts;
mod load;
mod probe;
mod read_only;
mod commit;
mod events;
mod retention;
mod dead_letters;
mod replays;
mod decisions;
mod inbox;
mod repairs;
mod report;
mod throughput;
mod backlog;
mod workers;
mod imports;
mod hand_overs;
mod scope;

pub use backlog::{Unassigned, Waits, open_dead_letters, open_inbox, together, unassigned};
pub use clock::MappingClocks;
pub(crate) use clock::{now_in_ms, postgres_zone};
pub use commit::commit;
pub use connection::Database;
pub use dead_letters::{
    Act, Acted, Compare, DeadLetter, DeadLetterFilter, DeadLetterSummary, Group, LeftOut, LetterAction,
    LetterOfEvent, LetterState, NewAct, NewDeadLetter, act_on_letters, acts, dead_letter, dead_letter_ids,
    dead_letter_summaries, dead_letters, dead_letters_of, groups, insert_dead_letters, letters_of_event,
    note, purge_closed_letters, purge_replays,
};
pub use decisions::{
    AuditFilter, AuditRow, Change, HostFacts, MappingFilter, MappingRow, MappingState, StaffFact, audits,
    change_of, changes_of_act, facts, list_mappings,
};
pub(crate) use decisions::{
    HostChange, RowChange, RowTarget, audits_since, begin_deciding, companies, staff_facts, write_changes,
};
pub use error::{StoreError, StoreErrorKind};
pub use events::{EventFilter, recorded_event, recorded_events};
pub use find::Lookup;
pub use gateway::{GatewaySchema, NameColumns, RefColumn};
pub use hand_overs::{
    Given, Held, given_by, hand_over, held_at_unknown_times, held_by, insert_hand_over, note_hand_over_undone,
};
pub use hosts::Hosts;
pub use imports::{begin_import, import, imports, note_import, note_import_undone};
pub use inbox::{
    Bookings, HostAct, HostAction, InboxEntry, InboxFilter, InboxKind, host_acts, inbox_entries,
};
pub(crate) use inbox::{act_on_host, last_host_acts};
pub use load::{Batch, Locked, Purpose, load_hosts, load_waiting, waiting};
pub use probe::probe;
pub use read_only::{Remembered, directory_for, directory_of, observed, remembered};
pub use repairs::{
    ItemState, Prior, RepairFilter, RepairItem, RepairRow, RepairScope, RepairState, Tally, Waiting,
    lock_hosts, repairs,
};
pub(crate) use repairs::{
    begin_repair, free_appointments, mark_items, repair, repair_items, set_repair_state, start_undoing,
    still_there, tallies, waiting_of,
};
pub use replays::{
    Beginning, FAILED, ItemRow, LEFT, LOST, NewItem, NewReplay, REFUSED, ReplayItemState, ReplayState,
    ReplayTerms, Replayed, Shares, Turn, begin_replay, claim, end_decided, give_up, hold_lease,
    insert_replay, item_counts, on_the_way_since, refuse, replay, replay_items, replays, sent, set_state,
    shares,
};
pub use report::{Decided, Period, dead_letter_reasons, decided, new_mappings, recorded};
pub use retention::{purge_events, purge_payloads};
pub use scope::Scope;
pub use throughput::{ages_since, decided_last, outcomes_since};
pub use values::{DbId, Document, Moment, bind_staff};
pub(crate) use version::too_old;
pub use workers::{Work, Worker, WorkerRow, purge_workers, remove_worker, tell_worker, workers};
