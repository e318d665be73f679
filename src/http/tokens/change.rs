//! Changes the token file atomically: a reader sees either the old file or the new one.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Why the token file could not be changed. The file is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError<E> {
    /// The file or its directory cannot be read, locked or written.
    #[error("{path:?} cannot be {what}: {source}; the file is unchanged")]
    File {
        /// The file as configured.
        path: PathBuf,
        /// The step that failed.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The caller's `change` returned an error.
    #[error("{0}")]
    Refused(E),
}

/// Replaces the file's text with the result of `change`; concurrent callers wait for each other. A
/// missing file is created, readable only by its owner; an existing one keeps its mode and its owner,
/// so that the edge can still read it.
///
/// # Errors
/// Fails with [`ChangeError`]; the file is then unchanged.
pub fn change<T, E>(
    path: &Path,
    change: impl FnOnce(&str) -> Result<(String, T), E>,
) -> Result<T, ChangeError<E>> {
    let failed = |what| move |source| ChangeError::File { path: path.to_owned(), what, source };
    // A symbolic link is kept: its target is replaced.
    let target = match path.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        target => target.map_err(failed("found"))?,
    };
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The lock is released when the file is closed.
    let lock = File::open(directory).map_err(failed("locked"))?;
    lock.lock().map_err(failed("locked"))?;
    let before = match std::fs::read_to_string(&target) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        text => Some(text.map_err(failed("read"))?),
    };
    let (text, result) = change(before.as_deref().unwrap_or_default()).map_err(ChangeError::Refused)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let temporary = directory.join(format!(".{name}.{}", uuid::Uuid::new_v4().simple()));
    let replaced = replace(&target, &temporary, &text, before.is_some()).and_then(|()| lock.sync_all());
    if replaced.is_err() {
        // It may not exist.
        let _ = std::fs::remove_file(&temporary);
    }
    replaced.map_err(failed("replaced"))?;
    Ok(result)
}

fn replace(target: &Path, temporary: &Path, text: &str, exists: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(text.as_bytes())?;
    if exists {
        let (old, new) = (std::fs::metadata(target)?, file.metadata()?);
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(std::fs::Permissions::from_mode(old.mode() & 0o7777))?;
    }
    file.sync_all()?;
    std::fs::rename(temporary, target)
}
