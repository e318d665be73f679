//! The names of our tables. They are in the gateway's database, where `events` or `repairs` may already
//! exist, so all of them begin with `hostmatch_`, except the two that are agreed with the gateway.

macro_rules! tables {
    ($($name:ident $table:literal $what:literal)*) => {
        $(#[doc = $what] pub const $name: &str = $table;)*

        /// All our tables except the bookkeeping of the migrations, in no particular order.
        pub const TABLES: [&str; 19] = [$($name),*];
    };
}

tables! {
    MAPPINGS "calcom_host_mappings" "\"In this company, this host is this member of staff.\""
    AUDITS "calcom_host_mapping_audits" "Every change of a mapping."
    ASSIGNMENTS "hostmatch_assignments" "What was decided for each appointment."
    BOOKING_REFERENCES "hostmatch_booking_references" "Every reference that led to an appointment, and what replaced it."
    INBOX "hostmatch_inbox" "Hosts that need a person."
    HOST_LOCKS "hostmatch_host_locks" "One row per host, locked before a decision about it."
    EVENTS "hostmatch_events" "The outcome of each event."
    DEAD_LETTERS "hostmatch_dead_letters" "Deliveries that were given up, with their whole message."
    REPLAYS "hostmatch_replays" "Plans to replay dead letters."
    REPLAY_ITEMS "hostmatch_replay_items" "The letters of a plan."
    DEAD_LETTER_ACTIONS "hostmatch_dead_letter_actions" "What operators did with dead letters."
    DEAD_LETTER_ACTION_LETTERS "hostmatch_dead_letter_action_letters" "The letters of such an action."
    INBOX_ACTIONS "hostmatch_inbox_actions" "What people did with hosts in the inbox."
    REPAIRS "hostmatch_repairs" "Repairs of waiting appointments."
    REPAIR_ITEMS "hostmatch_repair_items" "The appointments of a repair, as they were before."
    IMPORTS "hostmatch_imports" "Imports of mappings."
    HAND_OVERS "hostmatch_hand_overs" "Hosts and bookings that one member of staff handed over to another."
    WORKERS "hostmatch_workers" "Workers, running or stopped."
    MANUAL_ASSIGNMENTS "hostmatch_manual_assignments" "Appointments whose member of staff a person chose."
}

/// Which migrations are applied. The name cannot collide with Laravel's `migrations`.
pub const BOOKKEEPING: &str = "hostmatch_migrations";
/// The statements of unfinished or adopted migrations.
pub const JOURNAL: &str = "hostmatch_journal";
/// Prefix of the table that keeps the original rows of an adopted table until `down` restores them.
pub const ADOPTED: &str = "hostmatch_adopted_";

/// Quotes names for an `IN (…)`. Only for names from our own lists: nothing is escaped.
pub fn quoted<T: std::fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}
