//! Imports mappings: previews every line, then imports the lines in chunks, each in one transaction. Also
//! undoes an import.

use std::collections::BTreeSet;
use std::io::Write;

use sea_orm::Set;
use serde::Serialize;

use super::DECISION_CHUNK;
use super::lines::{ImportFile, LineResult};
use super::sheet::{Form, Writer};
use crate::app::{
    AppContext, AppError, Command, Decided, Decision, DecisionBatch, DecisionResults, Effect, Progress,
    Refusal, UnrestoredHost, decide_now, predict,
};
use crate::matching::HostKey;
use crate::runtime::clock::now_ms;
use crate::store::entity::import::{ActiveModel, Model};
use crate::store::{
    self, Change, MappingRow, StoreError, begin_import, changes_of_batch, facts, record_import,
};

/// The maximum number of errors in a view; [`Import::write_failed`] writes all of them.
const MAX_SHOWN_ERRORS: usize = 20;

/// A file, the result of each line, and the decisions to carry out.
pub(crate) struct Import {
    file: ImportFile,
    results: Vec<LineResult<Effect>>,
    /// The decisions that change something, each with the index of its row. Each expects the host's newest
    /// audit row of the preview, so that it does not overwrite a decision made in between.
    changes: Vec<(usize, Decision)>,
    id: Option<i64>,
}

/// The result or preview of an import. `docs/commands.md` describes its JSON.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ImportView {
    /// The id of the import. `None` if nothing was imported.
    pub(crate) import: Option<i64>,
    pub(crate) lines: usize,
    pub(crate) encoding: &'static str,
    pub(crate) delimiter: char,
    pub(crate) made: usize,
    pub(crate) replaced: usize,
    /// Mappings that a match had created and the import confirms.
    pub(crate) confirmed: usize,
    pub(crate) unchanged: usize,
    /// Lines without a member of staff.
    pub(crate) skipped: usize,
    /// Lines that cannot be imported.
    pub(crate) failed: usize,
    pub(crate) errors: Vec<LineError>,
}

/// A line that cannot be imported.
#[derive(Debug, Serialize)]
pub(crate) struct LineError {
    pub(crate) line: u64,
    pub(crate) error: String,
}

impl ImportView {
    /// Returns the number of lines that create or change a mapping.
    pub(crate) fn changed(&self) -> usize {
        self.made + self.replaced + self.confirmed
    }
}

impl Import {
    /// Returns the results so far; before the import, the predictions.
    pub(crate) fn view(&self) -> ImportView {
        let sheet = &self.file.sheet;
        let mut view = ImportView {
            import: self.id,
            lines: self.results.len(),
            encoding: sheet.encoding,
            delimiter: char::from(sheet.delimiter),
            ..ImportView::default()
        };
        for (row, result) in sheet.rows.iter().zip(&self.results) {
            let count = match result {
                Ok(None) => &mut view.skipped,
                Ok(Some(Effect::Made | Effect::SwitchedOn)) => &mut view.made,
                Ok(Some(Effect::Replaced | Effect::SwitchedOff | Effect::Reverted)) => &mut view.replaced,
                Ok(Some(Effect::Confirmed)) => &mut view.confirmed,
                Ok(Some(Effect::Unchanged)) => &mut view.unchanged,
                Err(why) => {
                    if view.errors.len() < MAX_SHOWN_ERRORS {
                        view.errors.push(LineError { line: row.line, error: why.clone() });
                    }
                    &mut view.failed
                }
            };
            *count += 1;
        }
        view
    }

    /// Writes the lines that cannot be imported, with their errors, in UTF-8 and with the file's columns and
    /// delimiter.
    pub(crate) fn write_failed(&self, out: impl Write) -> Result<(), AppError> {
        let sheet = &self.file.sheet;
        let of_file = sheet.columns.iter().map(String::as_str).filter(|it| *it != "error");
        let columns: Vec<&str> = of_file.chain(["error"]).collect();
        let form = Form { delimiter: sheet.delimiter, has_byte_order_mark: true };
        let mut writer = Writer::new(out, form, &columns)?;
        for (row, result) in sheet.rows.iter().zip(&self.results) {
            let Err(why) = result else { continue };
            let cells = columns.iter().map(|column| match *column {
                "error" => why.as_str(),
                column => sheet.cell(row, column).unwrap_or_default(),
            });
            writer.row(&cells.collect::<Vec<_>>())?;
        }
        Ok(writer.end()?)
    }
}

/// Previews the result of each line. `reason` is recorded for lines without a reason.
pub(crate) async fn preview_import(
    context: &AppContext,
    file: ImportFile,
    reason: Option<&str>,
    progress: Progress<'_>,
) -> Result<Import, AppError> {
    let (mut results, mut requested) = (Vec::new(), Vec::new());
    for (number, line) in file.lines.iter().enumerate() {
        let decision = line.as_ref().map(Option::as_ref).map_err(String::clone);
        results.push(decision.map(|decision| decision.map(|_| Effect::Unchanged)));
        if let Ok(Some(decision)) = line {
            let reason = decision.reason.clone().or_else(|| reason.map(str::to_owned));
            requested.push((number, Decision { reason, ..decision.clone() }));
        }
    }
    let (mut changes, mut done) = (Vec::new(), 0);
    for chunk in requested.chunks(DECISION_CHUNK) {
        let predict = async {
            let (numbers, decisions): (Vec<usize>, Vec<Decision>) =
                find_differing(context, chunk).await?.into_iter().unzip();
            let answers = predict(context.connection(), &context.schema, &decisions).await?;
            Ok::<(Vec<_>, Vec<_>, DecisionResults), StoreError>((numbers, decisions, answers))
        };
        let (numbers, decisions, answers) = context.with_deadline(predict).await?;
        for ((number, decision), answer) in numbers.into_iter().zip(decisions).zip(answers) {
            results[number] = result(answer);
            if is_change(&results[number]) {
                changes.push((number, decision));
            }
        }
        done += chunk.len();
        progress(done, requested.len());
    }
    Ok(Import { file, results, changes, id: None })
}

/// Imports the changes that [`preview_import`] found, in chunks, each in one transaction. To continue an
/// interrupted import, import the file again: lines that are already in force have no effect. After a
/// failure, some lines may have been imported.
pub(crate) async fn import(
    context: &AppContext,
    mut import: Import,
    file_name: &str,
    reason: Option<&str>,
    progress: Progress<'_>,
) -> Result<Import, AppError> {
    let mut batch = DecisionBatch::new(context.author.clone());
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let mut failed = import.view().failed;
    let row = ActiveModel {
        token: Set(batch.id.to_string()),
        company_id: Set(context.scope.only()),
        file: Set(file_name.chars().take(255).collect()),
        line_count: Set(count(import.results.len())),
        changed: Set(0),
        failed: Set(count(failed)),
        made_by: Set(context.author.as_str().to_owned()),
        why: Set(reason.map(str::to_owned)),
        at_ms: Set(now_ms()),
        ..Default::default()
    };
    let db = context.connection();
    let id = context.with_deadline(begin_import(db, row)).await?;
    import.id = Some(id);
    let (changes, mut changed) = (std::mem::take(&mut import.changes), 0);
    for chunk in changes.chunks(DECISION_CHUNK) {
        let decisions: Vec<Decision> = chunk.iter().map(|(_, decision)| decision.clone()).collect();
        let answers = decide_now(&context.database, &context.schema, &batch, &decisions).await?;
        batch.first += u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        for ((number, _), answer) in chunk.iter().zip(answers) {
            let result = result(answer);
            failed += usize::from(result.is_err());
            changed += usize::from(is_change(&result));
            import.results[*number] = result;
        }
        context.with_deadline(record_import(db, id, count(changed), count(failed), None)).await?;
        tracing::info!(import = id, lines = batch.first, of = changes.len(), "importing");
        progress(batch.first as usize, changes.len());
    }
    context.with_deadline(record_import(db, id, count(changed), count(failed), Some(now_ms()))).await?;
    Ok(import)
}

/// Returns the decisions that differ from the mappings in force, so that importing an exported file does not
/// confirm its mappings.
async fn find_differing(
    context: &AppContext,
    chunk: &[(usize, Decision)],
) -> Result<Vec<(usize, Decision)>, StoreError> {
    let keys: BTreeSet<HostKey> = chunk.iter().map(|(_, decision)| decision.key).collect();
    let facts = facts(context.connection(), &context.schema, &keys).await?;
    let is_in_force = |Decision { key, command, .. }: &Decision| {
        let Command::Set(staff) = command else { return false };
        let mappings = facts.get(key).map_or(&[][..], |facts| &facts.mappings);
        let mut active = mappings.iter().filter(|it| it.is_active_in(key.company));
        let is_valid = |it: &MappingRow| it.staff.is_valid_in(key.company);
        active.next().is_some_and(|it| it.staff.id.to_string() == staff.to_string() && is_valid(it))
            && active.next().is_none()
    };
    let newest_audit = |decision: &Decision| facts.get(&decision.key).map(|facts| facts.last_audit);
    let differing = chunk.iter().filter(|(_, decision)| !is_in_force(decision));
    Ok(differing
        .map(|(number, it)| (*number, Decision { expected_audit: newest_audit(it), ..it.clone() }))
        .collect())
}

fn result(decided: Result<Decided, Refusal>) -> LineResult<Effect> {
    decided.map(|decided| Some(decided.effect)).map_err(|refusal| refusal.to_string())
}

fn is_change(result: &LineResult<Effect>) -> bool {
    !matches!(result, Err(_) | Ok(None | Some(Effect::Unchanged)))
}

/// Returns the imports, newest first.
pub(crate) async fn imports(context: &AppContext, limit: u64) -> Result<Vec<Model>, AppError> {
    let rows = store::imports(context.connection(), &context.scope, limit);
    Ok(context.with_deadline(rows).await?)
}

/// An import that can be undone.
pub(crate) struct UndoImport {
    pub(crate) import: Model,
    pub(crate) changes: Vec<Change>,
}

/// The result of undoing an import.
#[derive(Debug, Serialize)]
pub(crate) struct UndoneImport {
    pub(crate) import: i64,
    /// The number of reverted changes.
    #[serde(rename = "taken_back")]
    pub(crate) reverted: usize,
    #[serde(rename = "left")]
    pub(crate) unrestored: Vec<UnrestoredHost>,
}

/// Returns the import and the changes that undoing it would revert.
pub(crate) async fn preview_undo(context: &AppContext, id: i64) -> Result<UndoImport, AppError> {
    let import = context.with_deadline(store::import(context.connection(), &context.scope, id)).await?;
    let import = import.ok_or_else(|| AppError::NotFound(format!("import {id}")))?;
    let batch = import.token.parse().map_err(|_| {
        AppError::NotFound(format!("record of the changes of import {id}: its token is not a UUID"))
    })?;
    let changes = changes_of_batch(context.connection(), &context.schema, batch);
    Ok(UndoImport { changes: context.with_deadline(changes).await?, import })
}

/// Undoes an import: restores every mapping that has not been changed since. After a failure, some mappings
/// may have been restored.
pub(crate) async fn undo_import(
    context: &AppContext,
    undo: UndoImport,
    reason: Option<&str>,
    progress: Progress<'_>,
) -> Result<UndoneImport, AppError> {
    let UndoImport { import, changes } = undo;
    let mut undone = UndoneImport { import: import.id, reverted: 0, unrestored: Vec::new() };
    let mut batch = DecisionBatch::new(context.author.clone());
    let why = reason.map_or_else(|| format!("undo of import {}", import.id), str::to_owned);
    let decision = |change: &Change| Decision::reverting(change.clone(), why.clone());
    for chunk in changes.chunks(DECISION_CHUNK) {
        let decisions: Vec<Decision> = chunk.iter().map(decision).collect();
        let answers = decide_now(&context.database, &context.schema, &batch, &decisions).await?;
        batch.first += u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        for (change, answer) in chunk.iter().zip(answers) {
            match answer {
                Ok(_) => undone.reverted += 1,
                Err(refusal) => {
                    undone
                        .unrestored
                        .push(UnrestoredHost { host: change.key.host, why: refusal.to_string() });
                }
            }
        }
        progress(batch.first as usize, changes.len());
    }
    let by = context.author.as_str();
    let recorded = store::record_import_undone(context.connection(), import.id, by, reason, now_ms());
    context.with_deadline(recorded).await?;
    Ok(undone)
}
