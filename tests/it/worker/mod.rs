//! The worker as a process. Its decisions are tested in `decide`, its behaviour under faults in `reliability`.

mod health;
