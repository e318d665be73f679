//! Previews and carries out one decision of a person.

use serde::Serialize;

use super::repair::{self, Counts};
use super::{AppContext, AppError, Decided, Decision, DecisionBatch, Refusal, decide_now, predict};
use crate::matching::HostKey;
use crate::store::{HostFacts, RepairRow, facts};

/// The result of a decision. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Serialize)]
pub(crate) struct DecisionView {
    #[serde(flatten)]
    pub(crate) decided: Decided,
    pub(crate) waiting: Counts,
    pub(crate) repair: Option<RepairRow>,
}

/// Predicts the result of a decision. Also returns the decision to carry out afterwards, which is refused if
/// another decision about the host is made in between.
pub(crate) async fn preview(
    context: &AppContext,
    decision: Decision,
) -> Result<(Decision, Decided), AppError> {
    let key = decision.key;
    context.check_company(key.company)?;
    let decision = Decision { expected_audit: Some(host_facts(context, key).await?.last_audit), ..decision };
    let predicted = predict(context.connection(), &context.schema, std::slice::from_ref(&decision));
    let predicted = context.with_deadline(predicted).await?.remove(0)?;
    Ok((decision, predicted))
}

/// Carries out a previewed decision.
pub(crate) async fn carry_out(context: &AppContext, decision: Decision) -> Result<DecisionView, AppError> {
    let key = decision.key;
    context.check_company(key.company)?;
    let batch = DecisionBatch::new(context.author.clone());
    let decided = decide_now(&context.database, &context.schema, &batch, &[decision]).await?.remove(0);
    let decided = match decided {
        Err(refusal @ Refusal::ChangedMeanwhile(_)) => {
            let in_force = describe_mapping(&host_facts(context, key).await?);
            return Err(AppError::NotAllowed(format!("{refusal}; {in_force}")));
        }
        decided => decided?,
    };
    let waiting = repair::preview(context, key).await?.counts();
    Ok(DecisionView { decided, waiting, repair: None })
}

async fn host_facts(context: &AppContext, key: HostKey) -> Result<HostFacts, AppError> {
    let keys = [key].into();
    let mut found = context.with_deadline(facts(context.connection(), &context.schema, &keys)).await?;
    Ok(found.remove(&key).ok_or(Refusal::UnknownHost(key.company, key.host))?)
}

/// Describes the mapping in force for a host.
fn describe_mapping(facts: &HostFacts) -> String {
    match facts.mappings.iter().find(|row| row.is_active_in(facts.key.company)) {
        None => "the host now has no mapping in force".to_owned(),
        Some(row) => {
            format!(
                "the host is now mapped to staff {} (mapping {}, {})",
                row.staff.id, row.id, row.state.source
            )
        }
    }
}
