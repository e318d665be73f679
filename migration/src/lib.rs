//! Creates and removes the tables of hostmatch, and checks the gateway's tables that they depend on.
//!
//! [`up()`] and [`down()`] create and remove our tables and the one column `appointments.calcom_host_id` in
//! the gateway's database, on MariaDB/MySQL, PostgreSQL and SQLite. The gateway's own tables are never
//! created, altered beyond that column, or dropped. [`baseline()`] is the explicit exception, for demos,
//! tests and new installations; it refuses if any of those tables exists.
//!
//! If the gateway's own migrations have already created some of our tables, [`up()`] refuses. [`adopt()`]
//! brings them to our shape and keeps every row, and [`down()`] restores what was found.
//!
//! The applied migrations are recorded in `hostmatch_migrations`, a name that cannot collide with Laravel's
//! `migrations`.

pub mod gateway;
pub mod names;

mod dialect;
mod definition;
mod migration;
mod tables;
mod catalog;
mod examination;
mod error;
mod session;
mod bookkeeping;
mod status;
mod show_grants;
mod privileges;
mod sequences;
mod adopt;
mod baseline;
mod plan;
mod up;
mod down;

pub use baseline::{baseline, baseline_sql};
pub use dialect::by_engine;
pub use down::{down, migrations_to_undo};
pub use error::MigrateError;
pub use examination::{Adoption, Examination, Obstacle};
pub use names::TABLES;
pub use plan::{examine, sql, sql_for};
pub use privileges::{missing_privileges, read_only};
pub use sequences::{Lagging, lagging as lagging_sequences};
pub use show_grants::Granted;
pub use status::{Status, drift, status};
pub use tables::indexes;
pub use up::{adopt, up};
