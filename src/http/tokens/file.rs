//! The token file: one line per token, with its SHA-256 and its terms.
//!
//! ```text
//! # a comment
//! 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae  {"name":"salon app","scopes":["events"],"companies":[15]}
//! 88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589  gateway in Hamburg
//! ```
//!
//! After the hash comes only a name (the token is then unlimited and never expires), or a JSON object with the
//! token's terms. A line whose terms cannot be read is skipped, and its token is refused.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

/// The SHA-256 of a token.
pub(super) type Hash = [u8; 32];

/// A route to which a token may post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// `POST /v1/events`
    Events,
    /// The gateway's events at `POST /api/retell/webhook`
    Retell,
}

/// What a token may do, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Its name; not unique if the file was not written by hostmatch.
    #[serde(default)]
    pub name: String,
    /// The routes; empty means all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Scope>,
    /// Only events of one of these companies (`companies.id`) are accepted; empty means any event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub companies: Vec<i64>,
    /// The time at which it expires.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub expires: Option<OffsetDateTime>,
    /// The time at which it was created.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub created: Option<OffsetDateTime>,
}

impl Terms {
    /// Returns whether the token may post to this route.
    pub(crate) fn allows(&self, scope: Scope) -> bool {
        self.scopes.is_empty() || self.scopes.contains(&scope)
    }

    /// Returns whether the token may post an event of this company; `None`: an event without a company.
    pub(crate) fn covers(&self, company: Option<i64>) -> bool {
        self.companies.is_empty() || company.is_some_and(|id| self.companies.contains(&id))
    }

    /// Returns whether the token has expired.
    pub fn has_expired(&self, now: OffsetDateTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// One token of the file. The secret itself is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub(super) hash: Hash,
    /// What the token may do.
    pub terms: Terms,
}

impl Token {
    /// Creates the token with this secret.
    pub fn new(secret: &str, terms: Terms) -> Self {
        Self { hash: hash(secret), terms }
    }

    /// Returns the token's id: the beginning of its hash, which reveals nothing about the secret.
    pub fn id(&self) -> String {
        hex::encode(&self.hash[..6])
    }

    /// Returns the token's line in the file.
    ///
    /// # Errors
    /// Fails if its terms cannot be written as JSON, for example because a year is beyond 9999.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        // A # begins a comment.
        let terms = serde_json::to_string(&self.terms)?.replace('#', "\\u0023");
        Ok(format!("{}  {terms}", hex::encode(self.hash)))
    }
}

/// Hashes a token as the file stores it.
pub(super) fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

/// Reads one line. Returns `None` for a blank line or a comment. An error must never quote the line, because
/// it may contain the token itself instead of the hash.
///
/// # Errors
/// Fails with a description of the problem.
pub fn read_line(line: &str) -> Result<Option<Token>, &'static str> {
    let line = line.split('#').next().unwrap_or_default().trim();
    if line.is_empty() {
        return Ok(None);
    }
    let (digest, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let mut hash = [0; 32];
    hex::decode_to_slice(digest, &mut hash).map_err(|_| "does not begin with a SHA-256 in hex")?;
    let rest = rest.trim();
    let terms = if rest.starts_with('{') {
        serde_json::from_str(rest).map_err(|_| "has terms that this version does not understand")?
    } else {
        Terms { name: rest.to_owned(), ..Terms::default() }
    };
    Ok(Some(Token { hash, terms }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_lines_and_old_lines_without_terms_are_read() {
        let terms = Terms {
            name: "salon #1 \"app\"".to_owned(),
            scopes: vec![Scope::Events],
            companies: vec![15],
            expires: OffsetDateTime::from_unix_timestamp(1_900_000_000).ok(),
            created: None,
        };
        let token = Token::new("secret", terms);
        assert_eq!(read_line(&token.to_line().unwrap()), Ok(Some(token.clone())));
        let hash = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        for (line, name) in [
            (hash.to_owned(), ""),
            (format!("  {} gateway # old", hash.to_uppercase()), "gateway"),
            (format!("{hash}\tgateway in Hamburg"), "gateway in Hamburg"),
        ] {
            let old = Token::new("foo", Terms { name: name.to_owned(), ..Terms::default() });
            assert_eq!(read_line(&line), Ok(Some(old)), "{line}");
        }
        for blank in ["", "  ", "# all", &format!("#{hash}")] {
            assert_eq!(read_line(blank), Ok(None));
        }
        for invalid in [
            "foo",
            &hash[1..],
            &format!("{hash} {{\"name\":\"x\",\"only\":1}}"),
            &format!("{hash} {{\"scopes\":[\"all\"]}}"),
            &format!("{hash} {{"),
        ] {
            assert!(read_line(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn terms_limit_a_token() {
        let unlimited = Terms::default();
        assert!(
            unlimited.allows(Scope::Retell)
                && unlimited.covers(None)
                && unlimited.covers(Some(7))
                && !unlimited.has_expired(OffsetDateTime::UNIX_EPOCH)
        );
        let limited = Terms {
            scopes: vec![Scope::Events],
            companies: vec![15],
            expires: Some(OffsetDateTime::UNIX_EPOCH),
            ..unlimited
        };
        assert!(limited.allows(Scope::Events) && !limited.allows(Scope::Retell));
        assert!(limited.covers(Some(15)) && !limited.covers(Some(16)) && !limited.covers(None));
        assert!(
            limited.has_expired(OffsetDateTime::UNIX_EPOCH),
            "a token is expired at the very time of its expiry"
        );
    }
}
