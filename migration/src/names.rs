//! The names of our tables. They live in somebody else's database, where `events` or `repairs` may be
//! taken: so all of them but the two that are agreed with the gateway begin with `hostmatch_`.

/// "In this company, this host is this member of staff."
pub const MAPPINGS: &str = "calcom_host_mappings";
/// Every change of a mapping.
pub const AUDITS: &str = "calcom_host_mapping_audits";
/// What was decided for each appointment.
pub const ASSIGNMENTS: &str = "hostmatch_assignments";
/// Hosts that need a person.
pub const INBOX: &str = "hostmatch_inbox";
/// What people did with them.
pub const INBOX_ACTIONS: &str = "hostmatch_inbox_actions";
/// A row for each host, to be locked before it is decided on.
pub const HOST_LOCKS: &str = "hostmatch_host_locks";
/// What became of each event.
pub const EVENTS: &str = "hostmatch_events";
/// Deliveries that were given up, with all they brought.
pub const DEAD_LETTERS: &str = "hostmatch_dead_letters";
/// What operators did with dead letters.
pub const DEAD_LETTER_ACTIONS: &str = "hostmatch_dead_letter_actions";
/// Which letters such an act was done on.
pub const DEAD_LETTER_ACTION_LETTERS: &str = "hostmatch_dead_letter_action_letters";
/// Plans to replay dead letters.
pub const REPLAYS: &str = "hostmatch_replays";
/// The letters of a plan.
pub const REPLAY_ITEMS: &str = "hostmatch_replay_items";
/// Repairs of appointments that waited.
pub const REPAIRS: &str = "hostmatch_repairs";
/// The appointments of a repair, as they were before.
pub const REPAIR_ITEMS: &str = "hostmatch_repair_items";
/// Imports of mappings.
pub const IMPORTS: &str = "hostmatch_imports";
/// What one member of staff gave to another.
pub const HAND_OVERS: &str = "hostmatch_hand_overs";
/// Workers that run, or ran.
pub const WORKERS: &str = "hostmatch_workers";

/// Which migrations are applied. So named that it never meets Laravel's `migrations`.
pub const BOOKKEEPING: &str = "hostmatch_migrations";
/// The statements of migrations, while something is unfinished or adopted.
pub const JOURNAL: &str = "hostmatch_journal";
/// Before the name of an adopted table: its rows as they were, until they are given back.
pub const ADOPTED: &str = "hostmatch_adopted_";

/// All of them, beside the bookkeeping of the migrations, in the order in which they are made.
pub const TABLES: [&str; 17] = [
    MAPPINGS,
    AUDITS,
    ASSIGNMENTS,
    INBOX,
    HOST_LOCKS,
    EVENTS,
    DEAD_LETTERS,
    REPLAYS,
    REPLAY_ITEMS,
    DEAD_LETTER_ACTIONS,
    DEAD_LETTER_ACTION_LETTERS,
    INBOX_ACTIONS,
    REPAIRS,
    REPAIR_ITEMS,
    IMPORTS,
    HAND_OVERS,
    WORKERS,
];
