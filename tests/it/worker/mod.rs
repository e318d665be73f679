//! Tests the worker as a process. `decide` tests its decisions, `reliability` its behaviour under faults.

mod health;
