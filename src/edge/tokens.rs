//! Bearer tokens: a file with the SHA-256 of each, which is read again when it changes, so that a
//! token is revoked by taking out its line.
//!
//! ```text
//! # a comment
//! 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae  gateway in Hamburg
//! ```

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

type Hash = [u8; 32];

/// The tokens of one file, or none at all.
#[derive(Debug)]
pub(super) struct Tokens {
    path: Option<PathBuf>,
    read: Mutex<Option<(Stamp, Vec<Hash>)>>,
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
    /// The tokens in this file; an empty path means that there are none.
    pub(super) fn new(path: &Path) -> Self {
        let path = (!path.as_os_str().is_empty()).then(|| path.to_owned());
        Self { path, read: Mutex::new(None) }
    }

    /// Whether there is a file of tokens at all.
    pub(super) fn is_configured(&self) -> bool {
        self.path.is_some()
    }

    /// Whether this token is one of them.
    ///
    /// # Errors
    /// When the file cannot be read. It is not known then who may post: nobody may.
    pub(super) async fn has(&self, token: &str) -> std::io::Result<bool> {
        self.refresh().await?;
        let hash: Hash = Sha256::digest(token.as_bytes()).into();
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let known = read.as_ref().map_or(&[][..], |(_, hashes)| hashes);
        // Without an early end: the time tells nothing about the list.
        Ok(known.iter().fold(false, |found, one| found | bool::from(one.ct_eq(&hash))))
    }

    /// Reads the file if it is not the one that was read last.
    ///
    /// # Errors
    /// When the file cannot be read; what was read before is forgotten.
    pub(super) async fn refresh(&self) -> std::io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let keep = |read| *self.read.lock().unwrap_or_else(PoisonError::into_inner) = read;
        // The stamp is taken before the text: a change in between is seen the next time.
        let stamp = match tokio::fs::metadata(path).await {
            Ok(metadata) => Stamp::of(&metadata),
            Err(error) => {
                keep(None);
                return Err(error);
            }
        };
        let known =
            self.read.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(known, _)| *known);
        if known == Some(stamp) {
            return Ok(());
        }
        match tokio::fs::read_to_string(path).await {
            Ok(text) => {
                let hashes = parse(&text);
                tracing::info!(tokens = hashes.len(), "edge.tokens_file has been read");
                keep(Some((stamp, hashes)));
                Ok(())
            }
            Err(error) => {
                keep(None);
                Err(error)
            }
        }
    }
}

/// One hash a line; what follows a blank is a name for people.
fn parse(text: &str) -> Vec<Hash> {
    let mut hashes = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let Some(word) = line.split_whitespace().next() else { continue };
        let mut hash = [0; 32];
        if hex::decode_to_slice(word, &mut hash).is_ok() {
            hashes.push(hash);
        } else {
            // Not shown: somebody may have written the token itself.
            let line = index + 1;
            tracing::warn!(line, "edge.tokens_file: this line has no SHA-256 in hex and is left out");
        }
    }
    hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_a_hash_are_left_out() {
        let hash = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        let text = format!(
            "# all\n\n{hash}\n  {} gateway # old\n#{hash}\nfoo\n{}\n",
            hash.to_uppercase(),
            &hash[1..]
        );
        assert_eq!(parse(&text), [<Hash>::from(Sha256::digest(b"foo")); 2]);
    }
}
