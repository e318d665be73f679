//! The worker as a process. What it decides is in `decide`, what it survives in `reliability`.

mod health;
