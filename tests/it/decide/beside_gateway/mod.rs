//! Tests beside a live gateway, which changes the same appointments at the same time.

mod contention;
mod adopted_tables;
mod long_locks;
mod modes;
mod untouched;
mod daylight_saving;
mod without_company;
