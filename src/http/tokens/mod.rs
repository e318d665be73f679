//! Bearer tokens: a file with the SHA-256 of each, which is read again when it changes, so that a
//! token is revoked by taking out its line.

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

/// The tokens of one file, or none at all.
#[derive(Debug)]
pub(crate) struct Tokens {
    path: Option<PathBuf>,
    read: Mutex<Option<(Stamp, Vec<Known>)>>,
    limits: RateLimits,
}

#[derive(Debug)]
struct Known {
    hash: Hash,
    terms: Arc<Terms>,
}

/// What a token turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// One of those of the file.
    Good(Arc<Terms>),
    /// None of them.
    Unknown,
    /// One whose time is over.
    Expired,
    /// A good one, used too often: there is room again after this time.
    TooFast(Duration),
}

/// By which a change of the file is told. The inode tells a file that was replaced by another of
/// the same length within one tick of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { modified: metadata.modified().ok(), length: metadata.len(), inode: metadata.ino() }
    }
}

impl Tokens {
    /// The tokens in this file; an empty path means that there are none. Each may be used for `rate`
    /// requests a second, 0 is without a limit.
    pub(crate) fn new(path: &Path, rate: u32) -> Self {
        let path = (!path.as_os_str().is_empty()).then(|| path.to_owned());
        Self { path, read: Mutex::new(None), limits: RateLimits::new(rate) }
    }

    /// Whether there is a file of tokens at all.
    pub(crate) fn is_configured(&self) -> bool {
        self.path.is_some()
    }

    /// What this token is, and counts its use.
    ///
    /// # Errors
    /// When the file cannot be read. It is not known then who may post: nobody may.
    pub(crate) async fn check(&self, token: &str) -> std::io::Result<Checked> {
        self.refresh().await?;
        let hash = file::hash(token);
        let found = {
            let read = locked(&self.read);
            let known = read.as_ref().map_or(&[][..], |(_, known)| known);
            // Without an early end: the time tells nothing about the list.
            let found = known
                .iter()
                .fold(None, |found, one| if bool::from(one.hash.ct_eq(&hash)) { Some(one) } else { found });
            found.map(|known| Arc::clone(&known.terms))
        };
        Ok(match found {
            None => Checked::Unknown,
            Some(terms) if terms.is_over(OffsetDateTime::now_utc()) => Checked::Expired,
            Some(terms) => match self.limits.take(hash, Instant::now()) {
                Ok(()) => Checked::Good(terms),
                Err(wait) => Checked::TooFast(wait),
            },
        })
    }

    /// Reads the file if it is not the one that was read last.
    ///
    /// # Errors
    /// When the file cannot be read; what was read before is forgotten.
    pub(crate) async fn refresh(&self) -> std::io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let read = self.read_anew(path).await;
        if read.is_err() {
            *locked(&self.read) = None;
        }
        read
    }

    async fn read_anew(&self, path: &Path) -> std::io::Result<()> {
        // The stamp is taken before the text: a change in between is seen the next time.
        let stamp = Stamp::of(&tokio::fs::metadata(path).await?);
        if locked(&self.read).as_ref().is_some_and(|(known, _)| *known == stamp) {
            return Ok(());
        }
        let known = parse(&tokio::fs::read_to_string(path).await?);
        tracing::info!(tokens = known.len(), "edge.tokens_file has been read");
        self.limits.keep(|hash| known.iter().any(|one| one.hash == *hash));
        *locked(&self.read) = Some((stamp, known));
        Ok(())
    }
}

/// The lines of the file; those that cannot be read are left out.
fn parse(text: &str) -> Vec<Known> {
    let mut known = Vec::new();
    for (index, line) in text.lines().enumerate() {
        match read_line(line) {
            Ok(None) => {}
            Ok(Some(token)) => known.push(Known { hash: token.hash, terms: Arc::new(token.terms) }),
            Err(problem) => {
                let line = index + 1;
                tracing::warn!(line, problem, "a line of edge.tokens_file is left out");
            }
        }
    }
    known
}
