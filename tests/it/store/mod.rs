//! The database: connecting, entities, records, and rows that are not as they should be.

pub(crate) mod backlog;
mod database;
mod dead_letters;
mod entities;
mod odd_rows;
