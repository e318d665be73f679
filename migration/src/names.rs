//! The names of our tables. They live in somebody else's database, where `events` or `repairs` may be
//! taken: so all of them but the two that are agreed with the gateway begin with `hostmatch_`.

macro_rules! tables {
    ($($name:ident $table:literal $what:literal)*) => {
        $(#[doc = $what] pub const $name: &str = $table;)*

        /// All of them, beside the bookkeeping of the migrations; their order means nothing.
        pub const TABLES: [&str; 17] = [$($name),*];
    };
}

tables! {
    MAPPINGS "calcom_host_mappings" "\"In this company, this host is this member of staff.\""
    AUDITS "calcom_host_mapping_audits" "Every change of a mapping."
    ASSIGNMENTS "hostmatch_assignments" "What was decided for each appointment."
    INBOX "hostmatch_inbox" "Hosts that need a person."
    HOST_LOCKS "hostmatch_host_locks" "A row for each host, to be locked before it is decided on."
    EVENTS "hostmatch_events" "What became of each event."
    DEAD_LETTERS "hostmatch_dead_letters" "Deliveries that were given up, with all they brought."
    REPLAYS "hostmatch_replays" "Plans to replay dead letters."
    REPLAY_ITEMS "hostmatch_replay_items" "The letters of a plan."
    DEAD_LETTER_ACTIONS "hostmatch_dead_letter_actions" "What operators did with dead letters."
    DEAD_LETTER_ACTION_LETTERS "hostmatch_dead_letter_action_letters" "Which letters such an act was done on."
    INBOX_ACTIONS "hostmatch_inbox_actions" "What people did with them."
    REPAIRS "hostmatch_repairs" "Repairs of appointments that waited."
    REPAIR_ITEMS "hostmatch_repair_items" "The appointments of a repair, as they were before."
    IMPORTS "hostmatch_imports" "Imports of mappings."
    HAND_OVERS "hostmatch_hand_overs" "What one member of staff gave to another."
    WORKERS "hostmatch_workers" "Workers that run, or ran."
}

/// Which migrations are applied. So named that it never meets Laravel's `migrations`.
pub const BOOKKEEPING: &str = "hostmatch_migrations";
/// The statements of migrations, while something is unfinished or adopted.
pub const JOURNAL: &str = "hostmatch_journal";
/// Before the name of an adopted table: its rows as they were, until they are given back.
pub const ADOPTED: &str = "hostmatch_adopted_";

/// Names for an `IN (…)`: only such as stand in lists of ours, for nothing is escaped.
pub fn quoted<T: std::fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}
