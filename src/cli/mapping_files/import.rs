//! `mappings import`: every line looked at first, then imported in parts, each part a transaction.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::lines::{Line, Lines};
use super::sheet::{Form, Writer};
use crate::app::{Act, Command, Decision, Effect, decide_now, predict};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::operator::Acting;
use crate::cli::output::{self, Output};
use crate::cli::{gateway, items};
use crate::config::Config;
use crate::event::CompanyId;
use crate::matching::HostKey;
use crate::runtime::clock::now_ms;
use crate::store::{Database, GatewaySchema, NewImport, StoreError, begin_import, facts, note_import};

/// Lines in one transaction.
const PART: usize = 250;

/// Errors that are shown; the file with the failed lines has all of them.
const SHOWN: usize = 20;

/// Import mappings from a CSV file, such as `mappings export` or `mappings template` writes
///
/// Delimiter and encoding are told by the file itself. Every line is looked at first; those that cannot
/// be imported are left out and told, and go to --failed FILE, which can be imported again, corrected or
/// not. What is so already is left alone. An import can be taken back (`mappings import-undo`); one
/// that was interrupted is gone on with by importing the file again.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The file; - is standard input
    file: PathBuf,
    /// Only say what would become of each line
    #[arg(long)]
    dry_run: bool,
    /// The company of lines that name none; lines of another one are refused
    #[arg(long, value_name = "N")]
    company: Option<i64>,
    /// Write lines that cannot be imported, and why, to this new file
    #[arg(long, value_name = "FILE")]
    failed: Option<PathBuf>,
    /// Refuse hosts that no booking has named yet
    #[arg(long)]
    known_hosts: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    acting: Acting,
}

/// How many lines came to what.
#[derive(Clone, Debug, Default)]
struct Counts {
    made: usize,
    replaced: usize,
    confirmed: usize,
    unchanged: usize,
    skipped: usize,
    failed: usize,
}

impl Counts {
    fn of(fates: &[Fate]) -> Self {
        let mut counts = Self::default();
        for fate in fates {
            let count = match fate {
                Fate::Skipped => &mut counts.skipped,
                Fate::Failed(_) => &mut counts.failed,
                Fate::Did(Effect::Made | Effect::SwitchedOn) => &mut counts.made,
                Fate::Did(Effect::Replaced | Effect::SwitchedOff | Effect::Reverted) => &mut counts.replaced,
                Fate::Did(Effect::Confirmed) => &mut counts.confirmed,
                Fate::Did(Effect::Unchanged) => &mut counts.unchanged,
            };
            *count += 1;
        }
        counts
    }

    fn changed(&self) -> usize {
        self.made + self.replaced + self.confirmed
    }

    fn told(&self) -> String {
        let Self { made, replaced, confirmed, unchanged, skipped, failed } = self;
        format!(
            "{made} made, {replaced} replaced, {confirmed} confirmed, {unchanged} so already, {skipped} without a \
             member of staff, {failed} failed"
        )
    }
}

/// What became, or would become, of a line.
#[derive(Clone, Debug)]
enum Fate {
    Skipped,
    Failed(String),
    Did(Effect),
}

/// Runs the command.
///
/// # Errors
/// When a file cannot be read or written, or the database cannot be reached.
pub(super) async fn run(output: Output, args: &Args, config: &Config) -> Result<Exit, Failure> {
    let author = args.acting.author()?;
    let company = args.company.map(CompanyId);
    let name = args.file.display().to_string();
    let lines = Lines::read(&items::read(&args.file)?, company, args.known_hosts)
        .map_err(|why| Failure::new(Exit::Failed, format!("{name} {why}; nothing was imported")))?;
    let failed = args.failed.as_deref().map(create).transpose()?;
    let (database, schema) = match args.dry_run {
        true => gateway::open(config).await?,
        false => gateway::open_to_write(config).await?,
    };
    let import = Import { output, args, act: Act::new(author), lines: &lines, name };
    let done = import.run(&database, &schema).await;
    database.close().await;
    let finished = done.and_then(|(id, fates, exit)| {
        let some = fates.iter().any(|fate| matches!(fate, Fate::Failed(_)));
        if let (true, Some(file)) = (some, &failed) {
            write_failed(file, &lines, &fates)?;
        }
        import.tell(id, &fates, some)?;
        Ok((some, exit))
    });
    // Nothing failed: there is nothing for it to say.
    if let (Some(path), Ok((false, _)) | Err(_)) = (&args.failed, &finished) {
        let _empty = std::fs::remove_file(path);
    }
    let (some, exit) = finished?;
    Ok(if exit == Exit::Done && some { Exit::Partial } else { exit })
}

fn create(path: &Path) -> Result<File, Failure> {
    File::options().write(true).create_new(true).open(path).map_err(|error| {
        let text = format!("{} cannot be made: {error}; name a new file with --failed", path.display());
        Failure::new(Exit::Failed, text)
    })
}

/// The same columns, and why; in UTF-8, with the file's own delimiter.
fn write_failed(file: &File, lines: &Lines, fates: &[Fate]) -> Result<(), Failure> {
    let told = |error: csv::Error| Failure::new(Exit::Failed, format!("writing the failed lines: {error}"));
    let sheet = &lines.sheet;
    let mut columns: Vec<&str> =
        sheet.columns.iter().map(String::as_str).filter(|it| *it != "error").collect();
    columns.push("error");
    let form = Form { delimiter: sheet.delimiter, is_marked: true };
    let mut writer = Writer::new(BufWriter::new(file), form, &columns).map_err(told)?;
    for (row, fate) in sheet.rows.iter().zip(fates) {
        let Fate::Failed(why) = fate else { continue };
        let cells = columns.iter().map(|column| match *column {
            "error" => why.as_str(),
            column => sheet.cell(row, column).unwrap_or_default(),
        });
        writer.row(&cells.collect::<Vec<_>>()).map_err(told)?;
    }
    writer.end().map_err(told)
}

struct Import<'a> {
    output: Output,
    args: &'a Args,
    act: Act,
    lines: &'a Lines,
    name: String,
}

impl Import<'_> {
    /// Gives the import's number, what became of each line, and how it ended.
    async fn run(
        &self,
        database: &Database,
        schema: &GatewaySchema,
    ) -> Result<(Option<i64>, Vec<Fate>, Exit), Failure> {
        let (predicted, news) = self.foresee(database, schema).await?;
        let counts = Counts::of(&predicted);
        if self.args.dry_run || counts.changed() == 0 {
            return Ok((None, predicted, Exit::Done));
        }
        if !self.args.yes {
            let question = format!("{}: {}. Import?", self.name, counts.told());
            match output::confirm(&question)? {
                Some(true) => {}
                Some(false) => return Ok((None, predicted, Exit::NeedsConfirmation)),
                None => {
                    let text = format!("{question} Say so with --yes, or look first with --dry-run");
                    return Err(Failure::new(Exit::NeedsConfirmation, text));
                }
            }
        }
        let new = NewImport {
            act: self.act.id,
            company: self.args.company.map(CompanyId),
            file: self.args.file.file_name().map_or_else(String::new, |it| it.to_string_lossy().into_owned()),
            lines: predicted.len(),
            failed: counts.failed,
            made_by: self.act.author.as_str().to_owned(),
            why: self.args.reason.clone(),
            at_ms: now_ms(),
        };
        let begin = database.transact(async |tx| begin_import(tx, &new).await);
        let id = database.in_time(begin).await?;
        let fates = self.import(database, schema, id, predicted, &news).await?;
        Ok((Some(id), fates, Exit::Done))
    }

    /// The decisions of lines that ask for something, with the number of each line.
    fn wishes(&self) -> Vec<(usize, Decision)> {
        let lines = self.lines.lines.iter().enumerate();
        let wished = lines.filter_map(|(number, line)| {
            let Line::Wish(decision) = line else { return None };
            let mut decision = (**decision).clone();
            decision.reason = decision.reason.or_else(|| self.args.reason.clone());
            Some((number, decision))
        });
        wished.collect()
    }

    /// What would become of each line, and the decisions of those that change something, each with what
    /// was seen of its host: what somebody else decides until it is imported is not overwritten.
    async fn foresee(
        &self,
        database: &Database,
        schema: &GatewaySchema,
    ) -> Result<(Vec<Fate>, Vec<(usize, Decision)>), StoreError> {
        let given = self.lines.lines.iter().map(|line| match line {
            Line::Skipped => Fate::Skipped,
            Line::Bad(why) => Fate::Failed(why.clone()),
            Line::Wish(_) => Fate::Did(Effect::Unchanged),
        });
        let mut fates: Vec<Fate> = given.collect();
        let (wishes, mut all) = (self.wishes(), Vec::new());
        let bar = output::progress(wishes.len(), "looking");
        for part in wishes.chunks(PART) {
            let look = async {
                let db = database.connection();
                let news = news(db, schema, part).await?;
                let decisions: Vec<Decision> = news.iter().map(|(_, decision)| decision.clone()).collect();
                Ok((predict(db, schema, &decisions).await?, news))
            };
            let (answers, news) = database.in_time(look).await?;
            for ((number, decision), answer) in news.into_iter().zip(answers) {
                fates[number] = fate(answer);
                if !matches!(fates[number], Fate::Failed(_) | Fate::Did(Effect::Unchanged)) {
                    all.push((number, decision));
                }
            }
            bar.inc(part.len() as u64);
        }
        bar.finish_and_clear();
        Ok((fates, all))
    }

    async fn import(
        &self,
        database: &Database,
        schema: &GatewaySchema,
        id: i64,
        mut fates: Vec<Fate>,
        news: &[(usize, Decision)],
    ) -> Result<Vec<Fate>, StoreError> {
        let failed = fates.iter().filter(|fate| matches!(fate, Fate::Failed(_))).count();
        let (mut changed, mut failed) = (0, failed);
        let bar = output::progress(news.len(), "importing");
        let mut act = self.act.clone();
        for part in news.chunks(PART) {
            let decisions: Vec<Decision> = part.iter().map(|(_, decision)| decision.clone()).collect();
            let answers = decide_now(database, schema, &act, &decisions).await?;
            act.first += u32::try_from(part.len()).unwrap_or(u32::MAX);
            for ((number, _), answer) in part.iter().zip(answers) {
                let fate = fate(answer);
                match fate {
                    Fate::Failed(_) => failed += 1,
                    Fate::Did(Effect::Unchanged) | Fate::Skipped => {}
                    Fate::Did(_) => changed += 1,
                }
                fates[*number] = fate;
            }
            let db = database.connection();
            database.in_time(note_import(db, id, changed, failed, None)).await?;
            tracing::info!(import = id, lines = act.first, of = news.len(), "importing");
            bar.inc(part.len() as u64);
        }
        bar.finish_and_clear();
        let db = database.connection();
        database.in_time(note_import(db, id, changed, failed, Some(now_ms()))).await?;
        Ok(fates)
    }

    fn tell(&self, id: Option<i64>, fates: &[Fate], some_failed: bool) -> Result<(), Failure> {
        let counts = Counts::of(fates);
        let sheet = &self.lines.sheet;
        let failed = sheet.rows.iter().zip(fates).filter_map(|(row, fate)| match fate {
            Fate::Failed(why) => Some((row.line, why.as_str())),
            _ => None,
        });
        let shown: Vec<(u64, &str)> = failed.take(SHOWN).collect();
        let file = self.args.failed.as_ref().filter(|_| some_failed).map(|path| path.display().to_string());
        let Counts { made, replaced, confirmed, unchanged, skipped, failed } = counts;
        match self.output {
            Output::Json => output::json(&json!({
                "import": id, "dry_run": self.args.dry_run, "lines": fates.len(),
                "encoding": sheet.encoding, "delimiter": char::from(sheet.delimiter).to_string(),
                "made": made, "replaced": replaced, "confirmed": confirmed, "unchanged": unchanged,
                "skipped": skipped, "failed": failed,
                "errors": shown.iter().map(|(line, why)| json!({ "line": line, "error": why })).collect::<Vec<_>>(),
                "failed_lines": file,
            })),
            Output::Table => {
                let would = if id.is_none() { "Not imported. It would be: " } else { "" };
                output::line(&format!("{would}{}", counts.told()))?;
                for (line, why) in &shown {
                    output::line(&format!("line {line}: {why}"))?;
                }
                if failed > shown.len() {
                    output::line(&format!("and {} more", failed - shown.len()))?;
                }
                match (&file, id) {
                    (Some(file), _) => output::line(&format!("The failed lines are in {file}"))?,
                    (None, _) if some_failed => {
                        output::line("All of them, to be corrected: with --failed FILE")?;
                    }
                    (None, _) => {}
                }
                if let Some(id) = id {
                    output::line(&format!("To take it back: hostmatch mappings import-undo {id}"))?;
                }
                Ok(())
            }
        }
    }
}

/// Those that ask for something else than what is in force: a file that was exported confirms nothing.
async fn news(
    db: &impl sea_orm::ConnectionTrait,
    schema: &GatewaySchema,
    part: &[(usize, Decision)],
) -> Result<Vec<(usize, Decision)>, StoreError> {
    let keys: BTreeSet<HostKey> = part.iter().map(|(_, decision)| decision.key).collect();
    let facts = facts(db, schema, &keys).await?;
    let is_so = |decision: &Decision| {
        let Command::Set(staff) = &decision.command else { return false };
        let mappings = facts.get(&decision.key).map_or(&[][..], |facts| &facts.mappings);
        let mut active =
            mappings.iter().filter(|it| it.state.is_active && it.company() == Some(decision.key.company));
        let counts = |it: &crate::store::MappingRow| it.staff.is_valid_in(decision.key.company);
        active.next().is_some_and(|it| it.staff.id.to_string() == staff.to_string() && counts(it))
            && active.next().is_none()
    };
    let seen = |decision: &Decision| facts.get(&decision.key).map(|facts| facts.last_audit);
    let news = part.iter().filter(|(_, decision)| !is_so(decision));
    Ok(news.map(|(number, it)| (*number, Decision { seen: seen(it), ..it.clone() })).collect())
}

fn fate(answer: Result<crate::app::Decided, crate::app::Refusal>) -> Fate {
    match answer {
        Ok(decided) => Fate::Did(decided.effect),
        Err(refusal) => Fate::Failed(refusal.to_string()),
    }
}
