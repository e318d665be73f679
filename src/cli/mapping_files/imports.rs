//! `mappings imports` and `mappings import-undo`: what was imported, and taking it back.

use serde::Serialize;
use serde_json::json;

use crate::app::{Act, Command, Decision, decide_now};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::operator::Acting;
use crate::cli::output::{self, Output};
use crate::event::CompanyId;
use crate::runtime::clock::now_ms;
use crate::store::{self, Change, Database, GatewaySchema, ImportRow, changes_of_act, note_import_undone};

/// Changes that are taken back in one transaction.
const PART: usize = 250;

/// What was imported, newest first
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// Only those that were of this company (import --company)
    #[arg(long, value_name = "N")]
    company: Option<i64>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u64,
}

/// Take an import back: every mapping is as it was before, unless it was changed again since
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Undo {
    /// Its number (see `mappings imports`)
    id: i64,
    /// Only if it was of this company (import --company)
    #[arg(long, value_name = "N")]
    company: Option<i64>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    acting: Acting,
}

/// One import. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Serialize)]
struct Line {
    id: i64,
    company: Option<i64>,
    file: String,
    lines: i64,
    changed: i64,
    failed: i64,
    made_by: String,
    why: Option<String>,
    at: String,
    ended: Option<String>,
    undone: Option<String>,
    undone_by: Option<String>,
}

impl From<ImportRow> for Line {
    fn from(row: ImportRow) -> Self {
        Self {
            id: row.id,
            company: row.company.map(|company| company.0),
            file: row.file,
            lines: row.lines,
            changed: row.changed,
            failed: row.failed,
            made_by: row.made_by,
            why: row.why,
            at: output::moment(row.at_ms),
            ended: row.ended_ms.map(output::moment),
            undone: row.undone_ms.map(output::moment),
            undone_by: row.undone_by,
        }
    }
}

/// Runs `imports`.
///
/// # Errors
/// When the database cannot be reached.
pub(super) async fn list(output: Output, args: &List, database: &Database) -> Result<Exit, Failure> {
    let rows = store::imports(database.connection(), args.company.map(CompanyId), args.limit);
    let lines: Vec<Line> = database.in_time(rows).await?.into_iter().map(Line::from).collect();
    match output {
        Output::Json => output::json(&json!({ "imports": lines }))?,
        Output::Table => {
            let rows = lines.into_iter().map(|line| {
                let state = match (line.undone, line.ended) {
                    (Some(undone), _) => format!("taken back {undone}"),
                    (None, Some(_)) => "done".to_owned(),
                    (None, None) => "interrupted".to_owned(),
                };
                let counts = [line.lines, line.changed, line.failed].map(|count| count.to_string());
                let [all, changed, failed] = counts;
                [line.id.to_string(), line.at, line.made_by, line.file, all, changed, failed, state]
            });
            output::table(&["ID", "AT", "BY", "FILE", "LINES", "CHANGED", "FAILED", "STATE"], rows)?;
        }
    }
    Ok(Exit::Done)
}

/// Runs `import-undo`.
///
/// # Errors
/// When there is no such import, or the database cannot be reached.
pub(super) async fn undo(
    output: Output,
    args: &Undo,
    database: &Database,
    schema: &GatewaySchema,
) -> Result<Exit, Failure> {
    let author = args.acting.author()?;
    let db = database.connection();
    let import = database.in_time(store::import(db, args.id, args.company.map(CompanyId))).await?;
    let Some(import) = import else {
        return Err(Failure::new(Exit::NotFound, format!("there is no import {}", args.id)));
    };
    let changes = database.in_time(changes_of_act(db, schema, import.act)).await?;
    if !args.yes {
        let question =
            format!("Take back {} changes of import {} ({})?", changes.len(), args.id, import.file);
        match output::confirm(&question)? {
            Some(true) => {}
            Some(false) => return Ok(Exit::NeedsConfirmation),
            None => {
                return Err(Failure::new(Exit::NeedsConfirmation, format!("{question} Say so with --yes")));
            }
        }
    }
    let mut act = Act::new(author);
    let (mut taken_back, mut left) = (0, Vec::new());
    let bar = output::progress(changes.len(), "taking back");
    for part in changes.chunks(PART) {
        let decisions: Vec<Decision> = part.iter().map(|change| decision(change, args, &import)).collect();
        let answers = decide_now(database, schema, &act, &decisions).await?;
        act.first += u32::try_from(part.len()).unwrap_or(u32::MAX);
        for (change, answer) in part.iter().zip(answers) {
            match answer {
                Ok(_) => taken_back += 1,
                Err(refusal) => left.push((change.key.host, refusal.to_string())),
            }
        }
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    let noted = note_import_undone(db, import.id, act.author.as_str(), args.reason.as_deref(), now_ms());
    database.in_time(noted).await?;
    match output {
        Output::Json => {
            let left: Vec<_> = left.iter().map(|(host, why)| json!({ "host": host, "why": why })).collect();
            output::json(&json!({ "import": import.id, "taken_back": taken_back, "left": left }))?;
        }
        Output::Table => {
            output::line(&format!("{taken_back} taken back, {} left", left.len()))?;
            for (host, why) in &left {
                output::line(&format!("host {host}: {why}"))?;
            }
        }
    }
    Ok(if left.is_empty() { Exit::Done } else { Exit::Partial })
}

fn decision(change: &Change, args: &Undo, import: &ImportRow) -> Decision {
    let mut decision = Decision::new(change.key.company, change.key.host, Command::Revert(change.clone()));
    decision.reason = args.reason.clone().or_else(|| Some(format!("import {} is taken back", import.id)));
    decision
}
