//! `deadletters export|import`: dead letters as JSON lines, for moving them between installations.

use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::filter::Choosing;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::items;
use crate::cli::operator::who;
use crate::cli::output::{self, Output};
use crate::runtime::clock::now_ms;
use crate::store::{
    Database, DeadLetterRow, NewAct, NewDeadLetter, dead_letter_ids, dead_letters_of, insert_dead_letters,
    note, record_taken,
};

/// Letters read or written together; each may be as large as a message can be.
const TOGETHER: usize = 50;

/// Write dead letters to stdout, one JSON object a line, whole: personal data included
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    #[command(flatten)]
    which: Choosing,
}

/// Record the dead letters of an export here, as open ones
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// The file; - is standard input
    file: PathBuf,
}

/// One line of an export. `docs/commands.md` describes it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    dead_id: String,
    event_id: Option<String>,
    event_type: Option<String>,
    booking: Option<String>,
    company: Option<i64>,
    host: Option<i64>,
    starts_ms: Option<i64>,
    reason: String,
    error: String,
    group: String,
    attempts: i32,
    history: String,
    routing_key: String,
    properties: String,
    /// The bytes, in hex: they may be anything.
    body: String,
    first_seen_ms: i64,
    last_failed_ms: i64,
    recorded_ms: i64,
    /// What became of it there. It is open where it is imported.
    state: String,
}

impl From<DeadLetterRow> for Line {
    fn from(row: DeadLetterRow) -> Self {
        let letter = row.letter;
        Self {
            dead_id: letter.dead_id,
            event_id: letter.event_id,
            event_type: letter.event_type,
            booking: letter.booking_ref,
            company: letter.company_id,
            host: letter.host_id,
            starts_ms: letter.starts_ms,
            reason: letter.reason,
            error: letter.error,
            group: letter.fingerprint,
            attempts: letter.attempts,
            history: letter.history,
            routing_key: letter.routing_key,
            properties: letter.headers,
            body: hex::encode(letter.body),
            first_seen_ms: letter.first_seen_ms,
            last_failed_ms: letter.last_failed_ms,
            recorded_ms: letter.recorded_ms,
            state: row.state.to_string(),
        }
    }
}

impl Line {
    fn letter(self) -> Result<NewDeadLetter, String> {
        let body = hex::decode(&self.body).map_err(|error| format!("its body is no hex: {error}"))?;
        Ok(NewDeadLetter {
            dead_id: self.dead_id,
            event_id: self.event_id,
            event_type: self.event_type,
            shape: None,
            publisher: None,
            booking_ref: self.booking,
            company_id: self.company,
            host_id: self.host,
            starts_ms: self.starts_ms,
            reason: self.reason,
            error: self.error,
            fingerprint: self.group,
            attempts: self.attempts,
            history: self.history,
            routing_key: self.routing_key,
            headers: self.properties,
            body,
            first_seen_ms: self.first_seen_ms,
            last_failed_ms: self.last_failed_ms,
            recorded_ms: self.recorded_ms,
            replayed: None,
        })
    }
}

/// Runs `export`: that they leave is recorded before they do.
///
/// # Errors
/// When nothing was chosen, or the database cannot be reached.
pub(super) async fn export(args: &Export, database: &Database) -> Result<Exit, Failure> {
    let filter = args.which.chosen()?;
    let ids = database.in_time(dead_letter_ids(database, &filter)).await?;
    let act = NewAct {
        action: "export",
        made_by: who().to_string(),
        at_ms: now_ms(),
        chosen: serde_json::to_string(&filter).ok(),
        ..NewAct::default()
    };
    record_taken(database, &ids, &act).await?;
    for some in ids.chunks(TOGETHER) {
        for row in database.in_time(dead_letters_of(database, some)).await? {
            output::json_line(&Line::from(row))?;
        }
    }
    Ok(if ids.is_empty() { Exit::NotFound } else { Exit::Done })
}

/// Runs `import`: every line is looked at before the first is recorded.
///
/// # Errors
/// When the file cannot be read or a line is no dead letter, or the database cannot be reached.
pub(super) async fn import(output: Output, args: &Import, database: &Database) -> Result<Exit, Failure> {
    let (all, new) = if args.file == Path::new("-") {
        let input = Cursor::new(items::read(&args.file)?);
        import_from(Letters { input, file: &args.file, line: 0 }, database).await?
    } else {
        let input = BufReader::new(items::open(&args.file)?);
        import_from(Letters { input, file: &args.file, line: 0 }, database).await?
    };
    match output {
        Output::Json => output::json(&json!({ "imported": new, "known": all - new }))?,
        Output::Table => output::line(&format!("{new} imported, {} were known here", all - new))?,
    }
    Ok(Exit::Done)
}

/// Gives how many letters there are, and how many were new.
async fn import_from<R: BufRead + Seek>(
    mut letters: Letters<'_, R>,
    database: &Database,
) -> Result<(usize, usize), Failure> {
    let (mut all, mut new) = (0, 0);
    while letters.next()?.is_some() {
        all += 1;
    }
    letters.rewind()?;
    let act = NewAct {
        action: "import",
        made_by: who().to_string(),
        at_ms: now_ms(),
        why: Some(letters.file.display().to_string()),
        letters: all,
        ..NewAct::default()
    };
    database.in_time(note(database, &act)).await?;
    loop {
        let mut some = Vec::new();
        while some.len() < TOGETHER
            && let Some(letter) = letters.next()?
        {
            some.push(letter);
        }
        if some.is_empty() {
            return Ok((all, new));
        }
        new += database.in_time(insert_dead_letters(database, &some)).await?;
    }
}

/// The letters of an export, one after the other: there may be more than fit in memory.
struct Letters<'a, R> {
    input: R,
    file: &'a Path,
    line: usize,
}

impl<R: BufRead + Seek> Letters<'_, R> {
    /// The next one; none at the end.
    fn next(&mut self) -> Result<Option<NewDeadLetter>, Failure> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if self.input.read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if !line.trim_ascii().is_empty() {
                break;
            }
        }
        // The parser's own words would quote the line.
        let read = serde_json::from_slice(&line)
            .map_err(|error| format!("is no dead letter (column {})", error.column()));
        let letter = read.and_then(Line::letter).map_err(|problem| {
            let text = format!("{} line {}: {problem}; nothing was imported", self.file.display(), self.line);
            Failure::new(Exit::Failed, text)
        })?;
        Ok(Some(letter))
    }

    /// Begins at the first line again.
    fn rewind(&mut self) -> Result<(), Failure> {
        self.input.rewind()?;
        self.line = 0;
        Ok(())
    }
}
