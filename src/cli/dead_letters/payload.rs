//! The bytes of a dead letter, in a form that is safe to look at, whatever they are.

use serde::Serialize;
use serde_json::Value;

use crate::cli::masked::masked;

/// Most bytes of a body that are shown when it is no JSON.
const MOST: usize = 4096;

/// The body of a message.
#[derive(Debug, Serialize)]
pub(super) struct Payload {
    /// Its size.
    pub bytes: usize,
    /// Whether it is shown as it is, personal data included.
    pub revealed: bool,
    #[serde(flatten)]
    pub content: Content,
}

/// What the bytes are. Of what is no JSON nothing can be masked: it is shown revealed or not at all.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Content {
    /// JSON.
    Json { value: Value },
    /// UTF-8 that is no JSON; its beginning.
    Text { text: Option<String> },
    /// Anything; its beginning, in hex.
    Binary { hex: Option<String> },
}

impl Payload {
    pub(super) fn of(body: &[u8], revealed: bool) -> Self {
        let content = match (serde_json::from_slice::<Value>(body), std::str::from_utf8(body)) {
            (Ok(value), _) if revealed => Content::Json { value },
            (Ok(value), _) => Content::Json { value: masked(&value) },
            (Err(_), Ok(text)) => {
                let end = text.floor_char_boundary(MOST);
                Content::Text { text: revealed.then(|| text[..end].to_owned()) }
            }
            (Err(_), Err(_)) => {
                let end = body.len().min(MOST);
                Content::Binary { hex: revealed.then(|| hex::encode(&body[..end])) }
            }
        };
        Self { bytes: body.len(), revealed, content }
    }

    /// For people: a heading and the content.
    pub(super) fn lines(&self) -> (String, Vec<String>) {
        let size = format!("{} bytes", self.bytes);
        let part = if self.bytes > MOST { format!(", the first {MOST}") } else { String::new() };
        let hidden = |what| (format!("Payload ({size}, {what}: not shown without --reveal)"), Vec::new());
        match &self.content {
            Content::Json { value } => {
                let note = if self.revealed { "" } else { ", personal data masked; --reveal shows it" };
                let text = serde_json::to_string_pretty(value).unwrap_or_default();
                (format!("Payload ({size}{note})"), vec![text])
            }
            Content::Text { text: Some(text) } => {
                (format!("Payload ({size}, no JSON{part})"), vec![text.clone()])
            }
            Content::Text { text: None } => hidden("no JSON"),
            Content::Binary { hex: Some(hex) } => {
                (format!("Payload ({size}, no UTF-8, in hex{part})"), rows_of(hex))
            }
            Content::Binary { hex: None } => hidden("no UTF-8"),
        }
    }
}

/// 32 bytes a line, each line with its offset.
fn rows_of(hex: &str) -> Vec<String> {
    hex.as_bytes()
        .chunks(64)
        .enumerate()
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
    fn what_is_no_json_is_shown_only_when_asked_for() {
        let text = b"{\"name\": \"Jane Roe\",";
        assert!(!format!("{:?}", Payload::of(text, false)).contains("Jane"));
        assert!(Payload::of(text, true).lines().1[0].contains("Jane"));
        let bytes = [&b"\xff\x00Jane"[..], &[b'x'; 5000]].concat();
        let (head, lines) = Payload::of(&bytes, true).lines();
        assert!(head.contains("5006 bytes") && head.contains("the first 4096"), "{head}");
        assert!(lines[0].starts_with("000000  ff 00 4a 61"), "{}", lines[0]);
        assert_eq!(lines.len(), 128);
        assert!(Payload::of(&bytes, false).lines().1.is_empty());
    }
}
