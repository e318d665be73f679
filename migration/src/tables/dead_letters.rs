//! Tables for dead letters, for what operators did with them, and for their replays.

use sea_orm_migration::schema::{
    big_integer, big_integer_null, integer, integer_null, string_len, string_len_null, text, text_null,
};

use crate::definition::{Definition, counting_key, typed};
use crate::dialect::Dialect;

/// Defines the table of dead letters: deliveries that could not be processed, with their original bytes. They
/// are open until a person replays or discards them.
pub(super) fn dead_letters(table: Definition, d: &Dialect) -> Definition {
    table
        .column(counting_key("id"))
        .column(string_len("dead_id", 64))
        .column(typed("event_id", &d.exact(255)).null())
        .column(string_len_null("event_type", 64))
        .column(typed("booking_ref", &d.exact(255)).null())
        .columns([big_integer_null("company_id"), big_integer_null("host_id"), big_integer_null("starts_ms")])
        .columns([string_len("reason", 64), text("error")])
        // Groups are found by a prefix of their fingerprint, so it is compared by its bytes.
        .column(typed("fingerprint", &d.exact(64)).not_null())
        .column(integer("attempts"))
        .column(integer("replays").default(0))
        .column(typed("history", d.long_text()).not_null())
        .column(string_len("routing_key", 255))
        .column(typed("headers", d.long_text()).not_null())
        .column(typed("body", d.bytes()).not_null())
        .columns([big_integer("first_seen_ms"), big_integer("last_failed_ms"), big_integer("recorded_ms")])
        .column(string_len("state", 16).default("open"))
        // When it was resolved, skipped or discarded.
        .column(big_integer_null("closed_ms"))
        .unique("unique_dead_id", &["dead_id"])
        .index("idx_state", &["state", "id"])
        .index("idx_reason", &["reason", "id"])
        .index("idx_fingerprint", &["fingerprint", "id"])
        .index("idx_company", &["company_id", "state", "id"])
        .index("idx_event_type", &["event_type", "id"])
        .index("idx_booking", &["booking_ref", "id"])
        .index("idx_host", &["host_id", "id"])
        .index("idx_last_failed", &["last_failed_ms", "id"])
        .index("idx_attempts", &["attempts", "id"])
        .index("idx_closed", &["closed_ms", "id"])
        // Covers every column that a list of groups reads.
        .index(
            "idx_groups",
            &[
                "state",
                "fingerprint",
                "reason",
                "company_id",
                "starts_ms",
                "first_seen_ms",
                "last_failed_ms",
                "id",
            ],
        )
}

/// Defines the table of operators' actions on dead letters: who, when, why, and on which ones.
pub(super) fn dead_letter_actions(table: Definition, d: &Dialect) -> Definition {
    table
        .column(counting_key("id"))
        .token()
        .columns([string_len("action", 16), string_len("made_by", 255)])
        .columns([big_integer("at_ms"), text_null("why")])
        .column(typed("chosen", d.long_text()).null())
        .columns([big_integer_null("replay_id"), string_len_null("fingerprint", 64), integer("letters")])
        .index("idx_at", &["at_ms"])
        .index("idx_fingerprint", &["fingerprint", "id"])
        .index("idx_replay", &["replay_id"])
}

/// Defines the table of the dead letters that an action applied to. (Those of a replay are its items.)
pub(super) fn dead_letter_action_letters(table: Definition, _: &Dialect) -> Definition {
    table
        .columns([big_integer("action_id"), big_integer("letter_id")])
        .primary_key(&["action_id", "letter_id"])
        .index("idx_letter", &["letter_id"])
}

/// Defines the table of replays: a plan to replay dead letters, and its replay, in one row. `lease_until_ms`
/// is in the future while a process works on it.
pub(super) fn replays(table: Definition, d: &Dialect) -> Definition {
    table
        .column(counting_key("id"))
        .token()
        .column(string_len("state", 16))
        .column(typed("chosen", d.long_text()).not_null())
        .columns([string_len("made_by", 255), text_null("why"), integer("total")])
        .columns([string_len_null("rate", 16), integer_null("canary"), integer_null("stop_percent")])
        .column(text_null("ended_because"))
        .columns([string_len_null("lease", 36), big_integer_null("lease_until_ms")])
        .columns([big_integer("created_ms"), big_integer("expires_ms")])
        .columns([big_integer_null("started_ms"), big_integer_null("ended_ms")])
        .index("idx_state", &["state", "id"])
        .index("idx_created", &["created_ms"])
}

/// Defines the table of a plan's dead letters, frozen: the state of each at that time, the prediction and the
/// result. `outstanding` is the letter's id while its copy is in flight, and unique: a letter has at most one
/// copy in flight.
pub(super) fn replay_items(table: Definition, _: &Dialect) -> Definition {
    table
        .columns([big_integer("replay_id"), big_integer("letter_id"), string_len("digest", 64)])
        .columns([big_integer("seen_ms"), big_integer_null("lane")])
        .columns([string_len("state", 16), string_len("predicted", 32)])
        .columns([string_len_null("predicted_reason", 64), string_len_null("strategy", 32)])
        .columns([string_len_null("result", 32), string_len_null("result_reason", 64)])
        .columns([big_integer_null("outstanding"), big_integer_null("sent_ms"), big_integer_null("ended_ms")])
        .primary_key(&["replay_id", "letter_id"])
        .unique("unique_outstanding", &["outstanding"])
        .index("idx_state", &["replay_id", "state", "result", "letter_id"])
        .index("idx_letter", &["letter_id"])
}
