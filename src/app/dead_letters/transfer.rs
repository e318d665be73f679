//! Exports and imports dead letters as JSON lines, to move them between installations.

use std::io::{BufRead, Seek};

use serde::Serialize;

use crate::app::{AppContext, AppError};
use crate::store::{
    DeadLetter, DeadLetterFilter, LetterAction, NewDeadLetter, NewLetterAction, Scope, dead_letter_ids,
    dead_letters_of, insert_dead_letters, perform_letter_action, record_note,
};

/// The number of letters read or written at a time. Each may have the maximum size of a message.
const CHUNK: usize = 50;

/// Calls `write` with each letter that the filter chooses, including personal data. The export is recorded
/// first. Returns the number of letters.
pub(crate) async fn export<E: From<AppError>>(
    context: &AppContext,
    filter: &DeadLetterFilter,
    mut write: impl FnMut(&DeadLetter) -> Result<(), E>,
) -> Result<usize, E> {
    let (database, scope) = (&context.database, &context.scope);
    let ids =
        context.with_deadline(dead_letter_ids(database, scope, filter)).await.map_err(AppError::from)?;
    let action = NewLetterAction {
        chosen: Some(filter.to_json(scope)),
        ..NewLetterAction::new(LetterAction::Export, context.author.as_str())
    };
    perform_letter_action(database, scope, &ids, &action).await.map_err(AppError::from)?;
    for chunk in ids.chunks(CHUNK) {
        let rows = context.with_deadline(dead_letters_of(database, scope, chunk)).await;
        for row in rows.map_err(AppError::from)? {
            write(&row)?;
        }
    }
    Ok(ids.len())
}

/// The result of an import.
#[derive(Debug, Serialize)]
pub(crate) struct ImportView {
    pub(crate) imported: usize,
    /// The letters that were stored already.
    pub(crate) known: usize,
}

/// Records the letters of an export as open letters. Reads every line before it records the first one. `name`
/// identifies the input in errors.
pub(crate) async fn import(
    context: &AppContext,
    mut input: impl BufRead + Seek,
    name: &str,
) -> Result<ImportView, AppError> {
    let (mut all, mut imported) = (0, 0);
    for letter in letters(&mut input, name) {
        let company = letter?.letter.company_id;
        if !company.map_or(context.scope == Scope::All, |id| context.scope.contains(id)) {
            let problem = "a dead letter belongs to another company; nothing was imported";
            return Err(AppError::NotAllowed(format!("{name}: {problem}")));
        }
        all += 1;
    }
    input
        .rewind()
        .map_err(|error| AppError::Unreadable(format!("{name} cannot be read a second time: {error}")))?;
    let action = NewLetterAction {
        why: Some(name.to_owned()),
        letters: all,
        ..NewLetterAction::new(LetterAction::Import, context.author.as_str())
    };
    context.with_deadline(record_note(&context.database, &action)).await?;
    let mut letters = letters(&mut input, name);
    loop {
        let chunk = letters.by_ref().take(CHUNK).collect::<Result<Vec<_>, _>>()?;
        if chunk.is_empty() {
            return Ok(ImportView { imported, known: all - imported });
        }
        imported += context.with_deadline(insert_dead_letters(&context.database, &chunk)).await?;
    }
}

/// Reads the letters of an export one by one, because they may not all fit in memory.
fn letters(input: impl BufRead, name: &str) -> impl Iterator<Item = Result<NewDeadLetter, AppError>> {
    let lines = input.split(b'\n').zip(1..);
    let non_empty = lines.filter(|(line, _)| !matches!(line, Ok(line) if line.trim_ascii().is_empty()));
    non_empty.map(move |(line, number): (_, usize)| {
        let problem =
            |what| AppError::Unreadable(format!("{name} line {number}: {what}; nothing was imported"));
        let line = line.map_err(|error| problem(error.to_string()))?;
        // The parser's own message would quote the line.
        let letter = serde_json::from_slice(&line)
            .map_err(|error| problem(format!("is not a dead letter (column {})", error.column())))?;
        Ok(NewDeadLetter { letter, shape: None, publisher: None, replayed: None })
    })
}
