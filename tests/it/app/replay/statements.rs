//! Runs every statement of a replay, for the test that revokes privileges one by one.

use hostmatch::store::{
    Database, DeadLetterFilter, LetterAction, NewItem, NewLetterAction, NewReplay, ReplayStart, ReplayState,
    ReplayTerms, Scope, StateChange, StoreError, begin_replay, claim, dead_letter_ids, dead_letters_of,
    give_up, groups, insert_replay, letter_actions, mark_sent, perform_letter_action, purge_closed_letters,
    purge_replays, refuse, set_replay_state,
};
use sea_orm::ConnectionTrait as _;

/// Runs the database statements of a replay, with the newest letter.
pub(crate) async fn run_every_statement(database: &Database) -> Result<(), StoreError> {
    let act = NewLetterAction { at_ms: 1, ..NewLetterAction::new(LetterAction::Pause, "cli:somebody@here") };
    // The newest letter: older ones may be incomplete after a run with missing privileges.
    let ids = dead_letter_ids(database, &Scope::All, &DeadLetterFilter::default()).await?;
    let ids = &ids[ids.len() - 1..];
    perform_letter_action(
        database,
        &Scope::All,
        ids,
        &NewLetterAction { action: LetterAction::Discard, ..act.clone() },
    )
    .await?;
    letter_actions(database, Some((ids[0], "f")), None).await?;
    perform_letter_action(
        database,
        &Scope::All,
        ids,
        &NewLetterAction { action: LetterAction::Restore, ..act.clone() },
    )
    .await?;
    groups(database, &Scope::All, &DeadLetterFilter::default(), 0, 1).await?;
    let seen_ms = dead_letters_of(database, &Scope::All, ids).await?[0].last_failed_ms;
    let item = NewItem {
        letter: ids[0],
        seen_ms,
        digest: "d".into(),
        lane: None,
        predicted: "assigned".into(),
        predicted_reason: None,
        strategy: None,
    };
    let plan = NewReplay {
        chosen: "{}".into(),
        made_by: act.made_by.clone(),
        created_ms: 1,
        expires_ms: i64::MAX,
        items: vec![item],
    };
    let id = insert_replay(database, &plan).await?;
    let terms = ReplayTerms { rate: "1/s".into(), canary: 0, stop_percent: 0, skip_failing: true };
    assert!(begin_replay(database, id, ("lease", 2), &ReplayStart::First(terms), &act).await?);
    assert_eq!(claim(database, id, "lease", &[(ids[0], seen_ms)], 1).await?, [ids[0]]);
    mark_sent(database, id, ids).await?;
    let again = ReplayStart::Again { resend: true };
    assert!(begin_replay(database, id, ("lease", 2), &again, &act).await?);
    refuse(database, id, ids[0], "unfit", 1).await?;
    let (from, to) = (&[ReplayState::Running][..], ReplayState::Cancelled);
    let change = StateChange { from, to, because: None, lease: Some("lease"), action: Some(&act), now_ms: 1 };
    assert!(set_replay_state(database, id, change).await?);
    give_up(database, id, &act).await?;
    purge_replays(database, i64::MAX).await?;
    database.connection().execute_unprepared("UPDATE hostmatch_dead_letters SET state = 'open'").await?;
    perform_letter_action(
        database,
        &Scope::All,
        ids,
        &NewLetterAction { action: LetterAction::Discard, ..act.clone() },
    )
    .await?;
    purge_closed_letters(database, i64::MAX).await?;
    Ok(())
}
