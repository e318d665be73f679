//! `hostmatch mappings export|template|import|imports|import-undo`: exports and imports mappings as files for
//! spreadsheets.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::arguments::{self, CompanyFilter};
use super::{Exit, Failure, Global, Output, decision::CommonArgs, items, output};
use crate::app::mapping_files::{self, Form, ImportFile, ImportView};
use crate::app::{AppContext, Progress, Scope, pluralize};
use crate::event::CompanyId;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Export(Export),
    Template(Template),
    Import(Import),
    Imports(Imports),
    ImportUndo(Undo),
}

/// Write mappings as CSV, which `mappings import` reads
///
/// Writes to stdout, in UTF-8. No cell can become a formula in a spreadsheet. The file contains names and
/// addresses.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    #[command(flatten)]
    csv: Csv,
    /// Include mappings that are switched off
    #[arg(long)]
    inactive: bool,
}

#[derive(Debug, clap::Args)]
struct Csv {
    #[command(flatten)]
    scope: CompanyFilter,
    /// Write semicolons and a byte order mark, for a German Excel
    #[arg(long)]
    excel: bool,
}

impl Csv {
    fn form(&self) -> Form {
        if self.excel { Form::EXCEL } else { Form::PLAIN }
    }
}

/// Write a CSV file of the hosts that need a person, to fill in and import
///
/// The column staff_id is empty; --suggestions fills it in where there is only one suggestion.
#[derive(Debug, clap::Args)]
pub(super) struct Template {
    #[command(flatten)]
    csv: Csv,
    /// Fill in the suggestion where there is only one
    #[arg(long)]
    suggestions: bool,
}

/// Import mappings from a CSV file, such as `mappings export` or `mappings template` writes
///
/// Detects delimiter and encoding. Checks every line first; lines that cannot be imported are left out,
/// reported, and written to --failed FILE, which can be corrected and imported again. A line that is already
/// in force has no effect. An import can be undone (`mappings import-undo`); to continue an interrupted
/// import, import the file again.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// The file; - is standard input
    file: PathBuf,
    /// Only show what would happen to each line
    #[arg(long)]
    dry_run: bool,
    /// The company of lines without a company; lines of another company are refused
    #[arg(long, value_name = "N", value_parser = arguments::company)]
    company: Option<CompanyId>,
    /// Write lines that cannot be imported, with their errors, to this new file
    #[arg(long, value_name = "FILE")]
    failed: Option<PathBuf>,
    /// Refuse hosts that no booking has had yet
    #[arg(long)]
    known_hosts: bool,
    #[command(flatten)]
    common: CommonArgs,
}

/// Imports, newest first
#[derive(Debug, clap::Args)]
pub(super) struct Imports {
    /// Only imports that were made with this --company
    #[arg(long, value_name = "N", value_parser = arguments::company)]
    company: Option<CompanyId>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u64,
}

/// Undo an import: restore every mapping that has not been changed since
#[derive(Debug, clap::Args)]
pub(super) struct Undo {
    /// The id of the import (see `mappings imports`)
    id: i64,
    /// Fail unless the import was made with this --company
    #[arg(long, value_name = "N", value_parser = arguments::company)]
    company: Option<CompanyId>,
    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the command; fails when the database cannot be reached, or a file cannot be read or written.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let (actor, company) = match command {
        Command::Export(Export { csv, .. }) | Command::Template(Template { csv, .. }) => {
            (None, csv.scope.company)
        }
        Command::Imports(args) => (None, args.company),
        Command::ImportUndo(args) => (Some(&args.common.actor), args.company),
        Command::Import(args) => return import(global, args).await,
    };
    let work = async |context: &AppContext| {
        let mut out = BufWriter::new(std::io::stdout());
        match command {
            Command::Export(args) => {
                mapping_files::export(context, args.inactive, args.csv.form(), &mut out).await?;
            }
            Command::Template(args) => {
                mapping_files::template(context, args.suggestions, args.csv.form(), &mut out).await?;
            }
            Command::Imports(args) => return imports(context, global.output, args.limit).await,
            Command::ImportUndo(args) => return undo(context, global.output, args).await,
            Command::Import(_) => return Ok(Exit::Usage),
        }
        out.flush()?;
        Ok(Exit::Done)
    };
    global.with_context(actor, company, work).await
}

async fn import(global: &Global, args: &Import) -> Result<Exit, Failure> {
    // A dry run refuses an actor's name as the real run would.
    args.common.actor.author()?;
    let actor = (!args.dry_run).then_some(&args.common.actor);
    // Reads the file next, because this does not need the database.
    let scope = Scope::of(args.company);
    let file = ImportFile::read(&items::read(&args.file)?, &scope, args.known_hosts).map_err(|why| {
        let hint = if why.contains("no column company_id") { "; add it, or specify --company N" } else { "" };
        Failure::new(Exit::Failed, format!("{} {why}{hint}; nothing was imported", args.file.display()))
    })?;
    let failed = args.failed.as_ref().map(|path| {
        File::options().write(true).create_new(true).open(path).map_err(|error| {
            let path = path.display();
            let text = format!("{path} cannot be created: {error}; name a new file with --failed");
            Failure::new(Exit::Failed, text)
        })
    });
    let failed = failed.transpose()?;
    let work = async |context: &AppContext| import_file(context, args, file, failed.as_ref()).await;
    let done = global.with_context(actor, args.company, work).await;
    // Removes the empty file if no line failed.
    if let (Some(path), Ok((ImportView { failed: 0, .. }, _)) | Err(_)) = (&args.failed, &done) {
        let _empty = std::fs::remove_file(path);
    }
    let (view, exit) = done?;
    show_import(global.output, args, &view)?;
    Ok(if exit == Exit::Done && view.failed > 0 { Exit::Partial } else { exit })
}

async fn import_file(
    context: &AppContext,
    args: &Import,
    file: ImportFile,
    failed: Option<&File>,
) -> Result<(ImportView, Exit), Failure> {
    let reason = args.common.reason.as_deref();
    let preview =
        async |progress: Progress<'_>| mapping_files::preview_import(context, file, reason, progress).await;
    let mut import = output::with_progress("checking", preview).await?;
    let view = import.view();
    let mut exit = Exit::Done;
    if !args.dry_run && view.changed() > 0 {
        let question = format!("{}: {}. Import?", args.file.display(), summary(&view));
        if output::ask_confirmation(args.common.yes, &question, ", or preview it with --dry-run")? {
            let name = args.file.file_name().unwrap_or_default().to_string_lossy();
            let write = async |progress: Progress<'_>| {
                mapping_files::import(context, import, &name, reason, progress).await
            };
            import = output::with_progress("importing", write).await?;
        } else {
            exit = Exit::NeedsConfirmation;
        }
    }
    let view = import.view();
    if let Some(file) = failed.filter(|_| view.failed > 0) {
        import.write_failed(BufWriter::new(file))?;
    }
    Ok((view, exit))
}

fn summary(view: &ImportView) -> String {
    let ImportView { made, replaced, confirmed, unchanged, skipped, failed, .. } = view;
    format!(
        "{made} created, {replaced} replaced, {confirmed} confirmed, {unchanged} unchanged, \
         {skipped} without a member of staff, {failed} failed"
    )
}

fn show_import(output: Output, args: &Import, view: &ImportView) -> Result<(), Failure> {
    let file = args.failed.as_ref().filter(|_| view.failed > 0).map(|path| path.display().to_string());
    if output == Output::Json {
        let mut document = json!(view);
        document["dry_run"] = args.dry_run.into();
        document["failed_lines"] = file.into();
        return output::json(&document);
    }
    let prefix = if view.import.is_none() { "Not imported. Preview: " } else { "" };
    output::print_line(&format!("{prefix}{}", summary(view)))?;
    for error in &view.errors {
        output::print_line(&format!("line {}: {}", error.line, error.error))?;
    }
    if view.failed > view.errors.len() {
        output::print_line(&format!("and {} more", view.failed - view.errors.len()))?;
    }
    match file {
        Some(file) => output::print_line(&format!("The failed lines are in {file}"))?,
        None if view.failed > 0 => output::print_line("To write all failed lines to a file: --failed FILE")?,
        None => {}
    }
    if let Some(id) = view.import {
        output::print_line(&format!("Undo it with: hostmatch mappings import-undo {id}"))?;
    }
    Ok(())
}

async fn imports(context: &AppContext, output: Output, limit: u64) -> Result<Exit, Failure> {
    let imports = mapping_files::imports(context, limit).await?;
    let rows = imports.iter().map(|it| {
        let state = match (it.undone_ms, it.ended_ms) {
            (Some(undone_ms), _) => format!("undone {}", output::moment(undone_ms)),
            (None, Some(_)) => "done".to_owned(),
            (None, None) => "interrupted".to_owned(),
        };
        let [lines, changed, failed] = [it.line_count, it.changed, it.failed].map(|it| it.to_string());
        let (by, file) = (it.made_by.clone(), it.file.clone());
        [it.id.to_string(), output::moment(it.at_ms), by, file, lines, changed, failed, state]
    });
    output.show(&json!({ "imports": imports }), || {
        output::table(&["ID", "AT", "BY", "FILE", "LINES", "CHANGED", "FAILED", "STATE"], rows)
    })
}

async fn undo(context: &AppContext, output: Output, args: &Undo) -> Result<Exit, Failure> {
    let undo = mapping_files::preview_undo(context, args.id).await?;
    let (changes, file) = (pluralize(undo.changes.len(), "change", "changes"), &undo.import.file);
    let question = format!("Undo {changes} of import {} ({file})?", args.id);
    if !output::ask_confirmation(args.common.yes, &question, "")? {
        return Ok(Exit::NeedsConfirmation);
    }
    let reason = args.common.reason.as_deref();
    let undo_import =
        async |progress: Progress<'_>| mapping_files::undo_import(context, undo, reason, progress).await;
    let undone = output::with_progress("undoing", undo_import).await?;
    output.show(&undone, || {
        output::print_line(&format!("{} undone, {} not undone", undone.reverted, undone.unrestored.len()))?;
        undone
            .unrestored
            .iter()
            .try_for_each(|left| output::print_line(&format!("host {}: {}", left.host, left.why)))
    })?;
    Ok(if undone.unrestored.is_empty() { Exit::Done } else { Exit::Partial })
}
