//! Dead letters as JSON lines, for moving them between installations.

use std::io::{BufRead, Seek};

use serde::Serialize;

use crate::app::{AppContext, AppError};
use crate::store::{
    DeadLetter, DeadLetterFilter, LetterAction, NewAct, NewDeadLetter, Scope, act_on_letters,
    dead_letter_ids, dead_letters_of, insert_dead_letters, note,
};

/// Letters read or written together; each may be as large as a message can be.
const CHUNK: usize = 50;

/// Takes out the letters that the filter chooses, whole, and gives each to `write`. That they leave is recorded
/// before they do. Gives how many.
///
/// # Errors
/// [`AppError`], or that of `write`.
pub(crate) async fn export<E: From<AppError>>(
    context: &AppContext,
    filter: &DeadLetterFilter,
    mut write: impl FnMut(&DeadLetter) -> Result<(), E>,
) -> Result<usize, E> {
    let (database, scope) = (&context.database, &context.scope);
    let ids =
        context.with_deadline(dead_letter_ids(database, scope, filter)).await.map_err(AppError::from)?;
    let act = NewAct {
        chosen: Some(filter.for_the_record(scope)),
        ..NewAct::new(LetterAction::Export, context.author.as_str())
    };
    act_on_letters(database, scope, &ids, &act).await.map_err(AppError::from)?;
    for some in ids.chunks(CHUNK) {
        let rows = context.with_deadline(dead_letters_of(database, scope, some)).await;
        for row in rows.map_err(AppError::from)? {
            write(&row)?;
        }
    }
    Ok(ids.len())
}

/// What an import found.
#[derive(Debug, Serialize)]
pub(crate) struct ImportView {
    /// Letters that are new here.
    pub(crate) imported: usize,
    /// Letters that were known here.
    pub(crate) known: usize,
}

/// Records the letters of an export here, as open ones. Every line is read before the first is recorded.
/// `name` is what the input is called.
///
/// # Errors
/// [`AppError`]; also when the input cannot be read or a line is no dead letter.
pub(crate) async fn import(
    context: &AppContext,
    input: impl BufRead + Seek,
    name: &str,
) -> Result<ImportView, AppError> {
    let mut letters = Letters { input, name, line: 0 };
    let (mut all, mut new) = (0, 0);
    while let Some(letter) = letters.next()? {
        if !letter.letter.company_id.map_or(context.scope == Scope::All, |id| context.scope.contains(id)) {
            return Err(letters.problem("is another company's"));
        }
        all += 1;
    }
    letters.input.rewind().map_err(|error| letters.problem(&error.to_string()))?;
    letters.line = 0;
    let act = NewAct {
        why: Some(name.to_owned()),
        letters: all,
        ..NewAct::new(LetterAction::Import, context.author.as_str())
    };
    context.with_deadline(note(&context.database, &act)).await?;
    loop {
        let mut some = Vec::new();
        while some.len() < CHUNK
            && let Some(letter) = letters.next()?
        {
            some.push(letter);
        }
        if some.is_empty() {
            return Ok(ImportView { imported: new, known: all - new });
        }
        new += context.with_deadline(insert_dead_letters(&context.database, &some)).await?;
    }
}

/// The letters of an export, one after the other: there may be more than fit in memory.
struct Letters<'a, R> {
    input: R,
    name: &'a str,
    line: usize,
}

impl<R: BufRead> Letters<'_, R> {
    /// The next one; none at the end.
    fn next(&mut self) -> Result<Option<NewDeadLetter>, AppError> {
        let mut line = Vec::new();
        while line.trim_ascii().is_empty() {
            line.clear();
            let read = self.input.read_until(b'\n', &mut line);
            if read.map_err(|error| self.problem(&error.to_string()))? == 0 {
                return Ok(None);
            }
            self.line += 1;
        }
        // The parser's own words would quote the line.
        let read = serde_json::from_slice(&line);
        let problem = |error: serde_json::Error| format!("is no dead letter (column {})", error.column());
        let letter = read.map_err(|error| self.problem(&problem(error)))?;
        Ok(Some(NewDeadLetter { letter, shape: None, publisher: None, replayed: None }))
    }

    fn problem(&self, problem: &str) -> AppError {
        AppError::Unreadable(format!("{} line {}: {problem}; nothing was imported", self.name, self.line))
    }
}
