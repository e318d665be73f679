//! The migrations, one per table or change of one, in the order in which they run.

mod calcom_host_mappings;
mod calcom_host_mapping_audits;
pub(crate) mod appointments_calcom_host_id;
mod appointment_assignments;
mod unmatched_hosts;
mod host_locks;
mod booking_events;
mod dead_letters;
mod dead_letters_filters;
mod dead_letter_replays;
mod dead_letter_replay_items;
mod dead_letter_actions;
mod dead_letter_action_letters;
mod unmatched_hosts_ignored;
mod unmatched_host_actions;
mod repairs;
mod repair_items;
mod mapping_imports;
mod hand_overs;
mod appointment_assignments_observed;
mod booking_events_publisher;
mod hostmatch_workers;

use crate::step::Step;

/// All of them. New ones go to the end.
pub(crate) const STEPS: [Step; 22] = [
    calcom_host_mappings::STEP,
    calcom_host_mapping_audits::STEP,
    appointments_calcom_host_id::STEP,
    appointment_assignments::STEP,
    unmatched_hosts::STEP,
    host_locks::STEP,
    booking_events::STEP,
    dead_letters::STEP,
    dead_letters_filters::STEP,
    dead_letter_replays::STEP,
    dead_letter_replay_items::STEP,
    dead_letter_actions::STEP,
    dead_letter_action_letters::STEP,
    unmatched_hosts_ignored::STEP,
    unmatched_host_actions::STEP,
    repairs::STEP,
    repair_items::STEP,
    appointment_assignments_observed::STEP,
    mapping_imports::STEP,
    hand_overs::STEP,
    booking_events_publisher::STEP,
    hostmatch_workers::STEP,
];
