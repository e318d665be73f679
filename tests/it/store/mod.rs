//! The database: connecting, entities, records, and unexpected rows.

pub(crate) mod backlog;
mod database;
mod dead_letters;
mod entities;
mod inbox;
mod odd_rows;
