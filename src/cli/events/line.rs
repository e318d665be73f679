//! One event in a list.

use serde::Serialize;

use crate::cli::masked::{MASK, looks_plain};
use crate::cli::output;
use crate::matching::DEAD_LETTER;
use crate::store::RecordedEvent;

/// One line of the list. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) event_type: String,
    pub(super) shape: String,
    pub(super) publisher: Option<String>,
    pub(super) booking: Option<String>,
    pub(super) company: Option<i64>,
    pub(super) appointment: Option<i64>,
    pub(super) outcome: String,
    pub(super) reason: Option<String>,
    pub(super) received: String,
    pub(super) decided: String,
    /// It became a dead letter.
    pub(super) rejected: bool,
}

impl From<RecordedEvent> for Line {
    fn from(row: RecordedEvent) -> Self {
        Self {
            id: row.id,
            // A sender may call a type whatever they like.
            event_type: masked(row.event_type),
            shape: row.shape,
            publisher: row.publisher.map(|name| if name.contains('@') { MASK.to_owned() } else { name }),
            booking: row.booking_ref,
            company: row.company_id,
            appointment: row.appointment_id,
            rejected: row.outcome == DEAD_LETTER,
            outcome: row.outcome,
            reason: row.reason,
            received: output::moment(row.received_ms),
            decided: output::moment(row.decided_ms),
        }
    }
}

fn masked(text: String) -> String {
    if looks_plain(&text) { text } else { MASK.to_owned() }
}

/// The head of a table of events.
pub(super) const HEAD: [&str; 9] =
    ["DECIDED", "OUTCOME", "REASON", "TYPE", "SHAPE", "PUBLISHER", "BOOKING", "COMPANY", "ID"];

impl Line {
    /// A row of the table.
    pub(super) fn cells(self) -> [String; 9] {
        let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            self.decided,
            self.outcome,
            dash(self.reason),
            self.event_type,
            self.shape,
            dash(self.publisher),
            dash(self.booking),
            dash(self.company.map(|id| id.to_string())),
            self.id,
        ]
    }
}
