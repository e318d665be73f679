//! What a person does with a replay beside carrying it out: pause, cancel, give up.

use super::runner::{ReplayError, Start};
use crate::runtime::clock::now_ms;
use crate::store::{Database, NewAct, ReplayRow, ReplayState, Turn, give_up, replay, set_state};

/// What can be done about letters that do not come back.
pub fn stuck(id: i64) -> String {
    format!(
        "nothing has come back for a while. Is a worker running, or is the retry schedule long? If the copies \
         are lost: `hostmatch deadletters replays resume {id} --resend` sends them once more, `hostmatch \
         deadletters replays cancel {id} --give-up` opens their letters again"
    )
}

/// Pauses a replay: what is on the way is finished, nothing more is sent until it is resumed.
///
/// # Errors
/// [`ReplayError`]
pub async fn pause(database: &Database, id: i64, made_by: &str) -> Result<(), ReplayError> {
    turn(database, id, made_by, "pause", &[ReplayState::Running], ReplayState::Paused).await
}

/// Ends a replay, or throws a plan away: what is on the way is finished, the rest stays as it is.
///
/// # Errors
/// [`ReplayError`]
pub async fn cancel(database: &Database, id: i64, made_by: &str) -> Result<(), ReplayError> {
    let from = [ReplayState::Planned, ReplayState::Running, ReplayState::Paused];
    turn(database, id, made_by, "cancel", &from, ReplayState::Cancelled).await
}

/// Ends a replay, if it has not ended, and gives up what is on the way: those letters are open again.
/// Gives how many.
///
/// # Errors
/// [`ReplayError`]
pub async fn cancel_and_give_up(database: &Database, id: i64, made_by: &str) -> Result<usize, ReplayError> {
    let refused = match cancel(database, id, made_by).await {
        Err(ReplayError::Refused(text)) => Some(text),
        ended => ended.map(|()| None)?,
    };
    let act = NewAct {
        action: "give_up",
        made_by: made_by.to_owned(),
        at_ms: now_ms(),
        replay: Some(id),
        ..NewAct::default()
    };
    match (database.in_time(give_up(database, id, &act)).await?, refused) {
        (0, Some(text)) => Err(ReplayError::Refused(format!("{text}, and nothing is on the way"))),
        (letters, _) => Ok(letters),
    }
}

async fn turn(
    database: &Database,
    id: i64,
    made_by: &str,
    action: &'static str,
    from: &[ReplayState],
    to: ReplayState,
) -> Result<(), ReplayError> {
    let row = find(database, id).await?;
    let now_ms = now_ms();
    let act = NewAct {
        action,
        made_by: made_by.to_owned(),
        at_ms: now_ms,
        replay: Some(id),
        letters: usize::try_from(row.total).unwrap_or_default(),
        ..NewAct::default()
    };
    let turn = Turn { from, to, because: None, lease: None, act: Some(&act), now_ms };
    if set_state(database, id, turn).await? {
        return Ok(());
    }
    let state = find(database, id).await?.state;
    Err(ReplayError::Refused(format!("replay {id} is {state}: there is nothing to {action}")))
}

/// The plan or replay with this id.
pub(super) async fn find(database: &Database, id: i64) -> Result<ReplayRow, ReplayError> {
    database.in_time(replay(database, id)).await?.ok_or(ReplayError::Unknown(id))
}

/// Why a replay cannot be begun or resumed, and what to do.
pub(super) fn refusal(row: &ReplayRow, start: &Start, now_ms: i64) -> String {
    let id = row.id;
    let again = "make a new one with `hostmatch deadletters plan`";
    match (row.state, start) {
        (ReplayState::Planned, Start::Begin { .. }) => format!("plan {id} has expired; {again}"),
        (ReplayState::Planned, Start::Resume { .. }) => {
            format!("{id} is only a plan; begin it with `hostmatch deadletters replay --plan {id}`")
        }
        (ReplayState::Running, _) if row.lease_until_ms.is_some_and(|until| until > now_ms) => format!(
            "a process works on replay {id}; if it has died, resume it in {} s",
            (row.lease_until_ms.unwrap_or(now_ms) - now_ms) / 1000 + 1
        ),
        (ReplayState::Running | ReplayState::Paused, Start::Begin { .. }) => {
            format!("replay {id} was begun; go on with `hostmatch deadletters replays resume {id}`")
        }
        (state, _) => format!("replay {id} is {}; {again}", state),
    }
}
