//! Reads and writes the gateway's database: connections, the shape of its tables, and our own rows in it.
//!
//! Everything here works on MariaDB/MySQL, PostgreSQL and SQLite, and on integer, text and native UUID keys.
//! The differences are read once, into [`GatewaySchema`], and never configured by hand.
//!
//! Every function that queries the database can return a [`StoreError`], which says what to do about it. A
//! function documents its errors only if there is more to say.

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
mod references;
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
mod bookings;
mod backlog;
mod workers;
mod imports;
mod hand_overs;
mod manual_assignments;
mod scope;

// Modules with a folder list their own exports.
pub use backlog::{Unassigned, WaitingCount, open_dead_letters, open_inbox, sum_waiting, unassigned};
pub use bookings::BookingFilter;
pub(crate) use bookings::{BookingRow, bookings, service_names};
pub use clock::MappingClocks;
pub(crate) use clock::{now_in_ms, postgres_zone};
pub use commit::commit;
pub use connection::Database;
pub use dead_letters::*;
pub use decisions::*;
pub use error::{StoreError, StoreErrorKind};
pub use events::{EventFilter, recorded_event, recorded_events};
pub use find::Lookup;
pub use gateway::{GatewaySchema, NameColumns, RefColumn};
pub use hand_overs::{
    HandedOver, StaffAppointment, appointments_of_staff, count_without_known_start, hand_over, hand_overs,
    handed_over, insert_hand_over, record_hand_over_undone,
};
pub use hosts::HostLockMode;
pub use imports::{begin_import, import, imports, record_import, record_import_undone};
pub use inbox::*;
pub use load::{Batch, Locked, Purpose, load_hosts, load_waiting, waiting_appointments};
pub use manual_assignments::ManualAssignment;
pub(crate) use manual_assignments::{
    insert_manual_assignments, manual_assignments_of, manual_batch, record_manual_undone,
};
pub use probe::probe;
pub(crate) use read_only::read_appointments;
pub use read_only::{RecordedAppointment, directory_for, directory_of, observed, recorded_appointment};
pub use repairs::*;
pub use replays::*;
pub use report::{Decided, Period, dead_letter_reasons, decided, new_mappings, newest_events};
pub use retention::{purge_events, purge_payloads};
pub use scope::Scope;
pub(crate) use staff::is_no_time;
pub use throughput::{ages_since, last_decided_ms, outcomes_since};
pub use values::{DbId, Document, Moment, bind_staff};
pub(crate) use version::too_old;
pub use workers::{Work, Worker, WorkerRow, purge_workers, record_heartbeat, remove_worker, workers};
