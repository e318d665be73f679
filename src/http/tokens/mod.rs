//! Bearer tokens: a file with the SHA-256 of each. It is read again when it changes, so removing a line
//! revokes its token.

mod file;
mod rate_limit;
mod change;

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use subtle::ConstantTimeEq as _;
use time::OffsetDateTime;

use crate::runtime::locked;

pub use change::{ChangeError, change};
use file::Hash;
pub use file::{Scope, Terms, Token, read_line};
use rate_limit::RateLimits;

/// The tokens of one file, or no tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    path: Option<PathBuf>,
    loaded: Mutex<Option<(FileVersion, Vec<KnownToken>)>>,
    limits: RateLimits,
}

#[derive(Debug)]
struct KnownToken {
    hash: Hash,
    terms: Arc<Terms>,
}

/// Whether a token may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenState {
    /// The token is in the file and may be used.
    Valid(Grant),
    /// The token is not in the file.
    Unknown,
    /// The token has expired.
    Expired,
    /// The token is valid, but has too many events; the next one is allowed after this time.
    TooFast(Duration),
}

/// A valid token that is in use by a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    hash: Hash,
    pub(crate) terms: Arc<Terms>,
}

/// Identifies a version of the file. The inode distinguishes a file that was replaced by another of
/// the same length within one tick of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileVersion {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl FileVersion {
    fn of(metadata: &Metadata) -> Self {
        Self { modified: metadata.modified().ok(), length: metadata.len(), inode: metadata.ino() }
    }
}

impl Tokens {
    /// Uses the tokens in this file; an empty path means that there are none. Each token may be used for
    /// `rate` events per second; 0 means no limit.
    pub(crate) fn new(path: &Path, rate: u32) -> Self {
        let path = (!path.as_os_str().is_empty()).then(|| path.to_owned());
        Self { path, loaded: Mutex::new(None), limits: RateLimits::new(rate) }
    }

    /// Returns whether a token file is configured.
    pub(crate) fn is_configured(&self) -> bool {
        self.path.is_some()
    }

    /// Checks this token, and counts one event.
    ///
    /// # Errors
    /// Fails if the file cannot be read; then no token is accepted.
    pub(crate) async fn check(&self, token: &str) -> std::io::Result<TokenState> {
        self.refresh().await?;
        let hash = file::hash(token);
        let found = {
            let loaded = locked(&self.loaded);
            let known = loaded.as_ref().map_or(&[][..], |(_, known)| known);
            // Compares with every token, so that the time reveals nothing about the list.
            let found = known
                .iter()
                .fold(None, |found, one| if bool::from(one.hash.ct_eq(&hash)) { Some(one) } else { found });
            found.map(|known| Arc::clone(&known.terms))
        };
        Ok(match found {
            None => TokenState::Unknown,
            Some(terms) if terms.has_expired(OffsetDateTime::now_utc()) => TokenState::Expired,
            Some(terms) => match self.limits.try_acquire(hash, Instant::now()) {
                Ok(()) => TokenState::Valid(Grant { hash, terms }),
                Err(wait) => TokenState::TooFast(wait),
            },
        })
    }

    /// Counts the other events of a request whose token has been checked.
    ///
    /// # Errors
    /// Returns the time to wait if other requests with this token have used up what is allowed.
    pub(crate) fn count_rest(&self, grant: &Grant, rest: usize) -> Result<(), Duration> {
        self.limits.try_acquire_rest(grant.hash, u32::try_from(rest).unwrap_or(u32::MAX), Instant::now())
    }

    /// Reads the file if it has changed since the last read.
    ///
    /// # Errors
    /// Fails if the file cannot be read; then no token is known.
    pub(crate) async fn refresh(&self) -> std::io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let read = self.reload(path).await;
        if read.is_err() {
            *locked(&self.loaded) = None;
        }
        read
    }

    async fn reload(&self, path: &Path) -> std::io::Result<()> {
        // The version is read before the content, so that a change in between is detected at the next check.
        let version = FileVersion::of(&tokio::fs::metadata(path).await?);
        if locked(&self.loaded).as_ref().is_some_and(|(loaded, _)| *loaded == version) {
            return Ok(());
        }
        let known = parse(&tokio::fs::read_to_string(path).await?);
        tracing::info!(tokens = known.len(), "read edge.tokens_file");
        self.limits.retain(|hash| known.iter().any(|one| one.hash == *hash));
        *locked(&self.loaded) = Some((version, known));
        Ok(())
    }
}

/// Parses the file; skips lines that cannot be read.
fn parse(text: &str) -> Vec<KnownToken> {
    let mut known = Vec::new();
    for (index, line) in text.lines().enumerate() {
        match read_line(line) {
            Ok(None) => {}
            Ok(Some(token)) => known.push(KnownToken { hash: token.hash, terms: Arc::new(token.terms) }),
            Err(problem) => {
                let line = index + 1;
                tracing::warn!(line, problem, "skipped an invalid line in edge.tokens_file");
            }
        }
    }
    known
}
