//! Changing the file of tokens: whoever reads it sees the old one or the new one, nothing between.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Why the file of tokens could not be changed. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError<E> {
    /// The file or its directory does not allow it.
    #[error("{path:?} cannot be {what}: {source}; it is as it was")]
    File {
        /// The file as configured.
        path: PathBuf,
        /// What was attempted.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Whoever wanted the change does not any more.
    #[error("{0}")]
    Refused(E),
}

/// Puts in place of the file's text what `change` makes of it, one after the other when several want
/// to. A file that is not there is made, readable by its owner alone; one that is keeps its mode and
/// its owner, so that the edge can go on reading it.
///
/// # Errors
/// [`ChangeError`]
pub fn change<T, E>(
    path: &Path,
    change: impl FnOnce(&str) -> Result<(String, T), E>,
) -> Result<T, ChangeError<E>> {
    let failed = |what| move |source| ChangeError::File { path: path.to_owned(), what, source };
    // A link stays one: what it leads to is replaced.
    let real = match path.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        real => real.map_err(failed("found"))?,
    };
    let directory = real.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Given back when it is closed.
    let lock = File::open(directory).map_err(failed("locked"))?;
    lock.lock().map_err(failed("locked"))?;
    let before = match std::fs::read_to_string(&real) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        text => Some(text.map_err(failed("read"))?),
    };
    let (text, told) = change(before.as_deref().unwrap_or_default()).map_err(ChangeError::Refused)?;
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    let beside = directory.join(format!(".{name}.{}", uuid::Uuid::new_v4().simple()));
    let replaced = replace(&real, &beside, &text, before.is_some()).and_then(|()| lock.sync_all());
    if replaced.is_err() {
        // It may not even be there.
        let _ = std::fs::remove_file(&beside);
    }
    replaced.map_err(failed("replaced"))?;
    Ok(told)
}

fn replace(real: &Path, beside: &Path, text: &str, is_there: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    file.write_all(text.as_bytes())?;
    if is_there {
        let (old, new) = (std::fs::metadata(real)?, file.metadata()?);
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(std::fs::Permissions::from_mode(old.mode() & 0o7777))?;
    }
    file.sync_all()?;
    std::fs::rename(beside, real)
}
