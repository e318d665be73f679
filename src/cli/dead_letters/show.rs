//! `deadletters show`: shows one dead letter.

use super::replays::action_columns;
use crate::app::AppContext;
use crate::app::dead_letters::{self, CUT, CUT_BODY, LetterView};
use crate::app::redaction::{Content, MAX_SHOWN_BYTES, PayloadView};
use crate::cli::{Exit, Failure, Output, next_action::command, output, output::dash};

/// One dead letter: its attempts, its path, its payload with personal data masked, and what to do
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    id: i64,
    /// Show the headers and the payload as they are, personal data included
    #[arg(long)]
    pub(super) reveal: bool,
}

pub(super) async fn run(output: Output, args: &Args, context: &AppContext) -> Result<Exit, Failure> {
    let shown = dead_letters::show(context, args.id, args.reveal).await;
    let mut letter = shown.map_err(|error| Failure::with_list_hint(error, "hostmatch deadletters list"))?;
    if let Some(forecast) = &mut letter.forecast {
        forecast.commands = forecast.next.iter().map(command).collect();
    }
    output.show(&letter, || table(&letter))
}

fn table(letter: &LetterView) -> Result<(), Failure> {
    output::print_line(&format!("Dead letter {}  ({})", letter.id, letter.state))?;
    let event = format!("{}  {}", dash(letter.event_type.as_ref()), dash(letter.event_id.as_ref()));
    let rows = [
        ("reason", letter.reason.clone()),
        ("error", letter.error.clone()),
        ("to do", letter.remedy.unwrap_or("check the broker's log").to_owned()),
        ("event", event),
        ("booking", dash(letter.booking.as_ref())),
        ("company", dash(letter.company)),
        ("host", dash(letter.host)),
        ("starts", dash(letter.starts.as_ref())),
        ("group", letter.fingerprint.clone()),
        ("attempts", letter.attempts.to_string()),
    ];
    output::pairs(rows)?;
    output::print_line("\nTimeline")?;
    let timeline = letter.timeline.iter().map(|moment| {
        let why = [&moment.reason, &moment.error].into_iter().flatten().cloned().collect::<Vec<_>>();
        let worker = moment.worker.as_ref().map(|version| format!("worker {version}"));
        [format!("  {}", moment.at), moment.what.clone(), why.join(": "), worker.unwrap_or_default()]
    });
    output::table(&[], timeline)?;
    if !letter.actions.is_empty() {
        output::print_line("\nHistory")?;
        output::table(&[], letter.actions.iter().map(action_columns))?;
    }
    if let Some(forecast) = &letter.forecast {
        let prediction = match forecast.reason {
            Some(CUT) => CUT_BODY.to_owned(),
            Some(reason) => format!("{} ({reason})", forecast.predicted),
            None => forecast.predicted.to_owned(),
        };
        output::print_line(&format!("\nPredicted for a replay now: {prediction}"))?;
        forecast.commands.iter().try_for_each(|command| output::print_line(&format!("  {command}")))?;
    }
    output::print_line(&format!("\nPath: {}", letter.path))?;
    let properties = letter.properties.iter().map(|(name, value)| (*name, value));
    let headers = letter.headers.iter().map(|(name, value)| (name.as_str(), value));
    let rows = [("routing key", &letter.routing_key)].into_iter().chain(properties).chain(headers);
    output::pairs(rows.map(|(name, value)| (name, value.clone())))?;
    let (head, lines) = payload_lines(&letter.payload);
    output::print_line(&format!("\n{head}"))?;
    lines.iter().try_for_each(|line| output::print_line(line))
}

/// Renders the payload for people: a heading and the content.
fn payload_lines(payload: &PayloadView) -> (String, Vec<String>) {
    let size = format!("{} bytes", payload.bytes);
    let part = if payload.bytes > MAX_SHOWN_BYTES {
        format!(", the first {MAX_SHOWN_BYTES}")
    } else {
        String::new()
    };
    let hidden = |what| (format!("Payload ({size}, {what}: not shown without --reveal)"), Vec::new());
    match &payload.content {
        Content::Json { value } => {
            let note = if payload.revealed { "" } else { ", personal data masked; --reveal shows it" };
            let text = serde_json::to_string_pretty(value).unwrap_or_default();
            (format!("Payload ({size}{note})"), vec![text])
        }
        Content::Text { text: Some(text) } => {
            (format!("Payload ({size}, not JSON{part})"), vec![text.clone()])
        }
        Content::Text { text: None } => hidden("not JSON"),
        Content::Binary { hex: Some(hex) } => {
            (format!("Payload ({size}, not UTF-8, in hex{part})"), hex_lines(hex))
        }
        Content::Binary { hex: None } => hidden("not UTF-8"),
    }
}

/// Renders 32 bytes per line, each line with its offset.
fn hex_lines(hex: &str) -> Vec<String> {
    let lines = hex.as_bytes().chunks(64).enumerate();
    lines
        .map(|(number, digits)| {
            let pairs: Vec<_> = digits.chunks(2).map(String::from_utf8_lossy).collect();
            format!("{:06x}  {}", number * 32, pairs.join(" "))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_rows_with_their_offset() {
        let bytes = [&b"\xff\x00Jane"[..], &[b'x'; 5000]].concat();
        let (head, lines) = payload_lines(&PayloadView::of(&bytes, true));
        assert!(head.contains("5006 bytes") && head.contains("the first 4096"), "{head}");
        assert!(lines[0].starts_with("000000  ff 00 4a 61"), "{}", lines[0]);
        assert_eq!(lines.len(), 128);
        assert!(payload_lines(&PayloadView::of(&bytes, false)).1.is_empty());
    }
}
