//! Integration tests: one binary, one module per area.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the functions around the tests may fail loudly too; clippy.toml covers #[test] functions only"
)]

#[macro_use]
mod support;

mod adopting;
mod adopting_given_back;
mod adopting_interrupted;
mod adopting_misfits;
mod adopting_raced;
mod adopting_refused;
mod adopting_rights;
mod alerting;
mod broken_builds;
mod column_names;
mod command_line;
mod configuration;
mod contract;
mod database;
mod dead_letter_commands;
mod dead_letter_lists;
mod dead_letters;
mod deciding;
mod demo;
mod doctor;
mod dry_run;
mod documents;
mod edge;
mod events;
mod explaining;
mod gateway;
mod hand_over;
mod health;
mod http_client;
mod inspecting;
mod journeys;
mod logging;
mod mapping_files;
mod metrics;
mod migrating;
mod migrations;
mod moving_in;
mod names;
mod neighbours;
mod observing;
mod odd_rows;
mod operating;
mod people;
mod privileges;
mod privileges_adopting;
mod program;
mod publishing;
mod queue;
mod recorded_events;
mod reliability;
mod reporting;
mod replaying;
mod security;
mod sequences;
mod simulating;
mod backlog;
mod starting;
mod status;
mod store_entities;
mod tidy;
mod topology_commands;
mod traces;
mod upgrading;
mod validating;
mod walk;
