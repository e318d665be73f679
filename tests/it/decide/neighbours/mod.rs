//! Beside a live gateway: a second program changes the same appointments at the same time.

mod contention;
mod given_back;
mod kept_locks;
mod modes;
mod untouched;
mod summer_time;
mod without_company;
