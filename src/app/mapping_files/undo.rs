//! What was imported, and taking it back.

use serde::Serialize;

use super::DECISION_CHUNK;
use crate::app::{Act, AppContext, AppError, Command, Decision, HostLeft, Progress, decide_now};
use crate::runtime::clock::now_ms;
use crate::store::entity::import::Model;
use crate::store::{self, Change, changes_of_act};

/// The imports, the newest first.
///
/// # Errors
/// [`AppError`]
pub(crate) async fn imports(context: &AppContext, limit: u64) -> Result<Vec<Model>, AppError> {
    let rows = store::imports(context.connection(), &context.scope, limit);
    Ok(context.with_deadline(rows).await?)
}

/// An import that may be taken back.
pub(crate) struct UndoImport {
    pub(crate) import: Model,
    pub(crate) changes: Vec<Change>,
}

/// What came of taking an import back.
#[derive(Debug, Serialize)]
pub(crate) struct UndoneImport {
    pub(crate) import: i64,
    pub(crate) taken_back: usize,
    pub(crate) left: Vec<HostLeft>,
}

/// What would be taken back.
///
/// # Errors
/// [`AppError`]
pub(crate) async fn preview_undo(context: &AppContext, id: i64) -> Result<UndoImport, AppError> {
    let import = context.with_deadline(store::import(context.connection(), &context.scope, id)).await?;
    let import = import.ok_or_else(|| AppError::NotFound { what: format!("import {id}") })?;
    let act = import.token.parse().map_err(|_| AppError::NotFound {
        what: format!("record of what import {id} changed: its token is no UUID"),
    })?;
    let changes = changes_of_act(context.connection(), &context.schema, act);
    Ok(UndoImport { changes: context.with_deadline(changes).await?, import })
}

/// Takes an import back: every mapping is as it was before, unless it was changed again since.
///
/// # Errors
/// [`AppError`]; a part may be taken back then.
pub(crate) async fn undo_import(
    context: &AppContext,
    undo: UndoImport,
    reason: Option<&str>,
    progress: Progress<'_>,
) -> Result<UndoneImport, AppError> {
    let UndoImport { import, changes } = undo;
    let mut undone = UndoneImport { import: import.id, taken_back: 0, left: Vec::new() };
    let mut act = Act::new(context.author.clone());
    let why = reason.map_or_else(|| format!("import {} is taken back", import.id), str::to_owned);
    let decision = |change: &Change| {
        let (company, host) = (change.key.company, change.key.host);
        let revert = Decision::new(company, host, Command::Revert(change.clone()));
        Decision { reason: Some(why.clone()), ..revert }
    };
    for part in changes.chunks(DECISION_CHUNK) {
        let decisions: Vec<Decision> = part.iter().map(decision).collect();
        let answers = decide_now(&context.database, &context.schema, &act, &decisions).await?;
        act.first += u32::try_from(part.len()).unwrap_or(u32::MAX);
        for (change, answer) in part.iter().zip(answers) {
            match answer {
                Ok(_) => undone.taken_back += 1,
                Err(refusal) => {
                    undone.left.push(HostLeft { host: change.key.host, why: refusal.to_string() });
                }
            }
        }
        progress(act.first as usize, changes.len());
    }
    let by = context.author.as_str();
    let note = store::note_import_undone(context.connection(), import.id, by, reason, now_ms());
    context.with_deadline(note).await?;
    Ok(undone)
}
