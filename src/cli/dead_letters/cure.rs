//! What would become of one dead letter now, and the command that cures it.

use serde::Serialize;

use crate::cli::failure::Failure;
use crate::config::Config;
use crate::decide::{DeliveryResult, Processor, revived};
use crate::matching::Outcome;
use crate::store::{Database, DeadLetterRow, FAILED, GatewaySchema, LetterState};

/// What would cure it.
#[derive(Debug, Serialize)]
pub(super) struct Cure {
    /// What would become of it, were it replayed now; `failed` is one.
    pub(super) foretold: &'static str,
    /// Why it would fail again.
    pub(super) reason: Option<&'static str>,
    /// To be run, in this order.
    pub(super) commands: Vec<String>,
}

impl Cure {
    /// Of an open letter: by doing everything that a replay would, and writing nothing.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(super) async fn of(
        row: &DeadLetterRow,
        config: &Config,
        (database, schema): (&Database, GatewaySchema),
    ) -> Result<Option<Self>, Failure> {
        let id = row.id;
        match row.state.known() {
            Some(LetterState::Open) => {}
            Some(state @ LetterState::Discarded) => {
                let restore = format!("hostmatch deadletters restore --ids {id} --reason '…'");
                return Ok(Some(Self { foretold: state.as_str(), reason: None, commands: vec![restore] }));
            }
            _ => return Ok(None),
        }
        let processor = Processor::new(database.clone(), schema, config);
        let message = (revived(&row.letter), row.letter.first_seen_ms);
        let Some(prediction) = processor.dry_run().predict(vec![message]).await?.pop() else {
            return Ok(None);
        };
        let replay = format!("hostmatch deadletters replay --ids {id} --reason '…'");
        let payload = format!("hostmatch deadletters show {id} --reveal --output json | jq .payload.value");
        Ok(Some(match prediction.result {
            DeliveryResult::Done(outcome @ (Outcome::NeedsReview | Outcome::Unmatched)) => {
                let mut commands = vec![format!("{payload} | hostmatch match explain --booking -")];
                if let (Some(company), Some(host)) = (row.letter.company_id, row.letter.host_id) {
                    let set = "hostmatch mappings set --unseen";
                    commands.push(format!("{set} --company {company} --host {host} --staff ID"));
                }
                commands.push(replay);
                Self { foretold: outcome.as_str(), reason: None, commands }
            }
            DeliveryResult::Done(outcome) => {
                Self { foretold: outcome.as_str(), reason: None, commands: vec![replay] }
            }
            DeliveryResult::Retry(reason, _) | DeliveryResult::Dead(reason, _) => Self {
                foretold: FAILED,
                reason: Some(reason.as_str()),
                // When the cause is gone, for everything that it had befallen.
                commands: vec![format!("hostmatch deadletters plan --group {}", row.letter.fingerprint)],
            },
            DeliveryResult::Deferred => return Ok(None),
        }))
    }
}
