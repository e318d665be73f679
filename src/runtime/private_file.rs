//! Files that only their owner may read: our SQLite files contain bookings, and so personal data.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::geteuid;

/// A database, and the files that SQLite writes next to it.
const SQLITE_SUFFIXES: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Creates an empty file for SQLite that only this user may read and write, unless the file exists: then it
/// keeps its mode. SQLite gives the files that it writes next to it the same mode.
///
/// An existing file is not even opened, because closing it would release the locks that SQLite holds on it in
/// this process.
///
/// # Errors
/// Fails with the system's error if the file cannot be created.
pub fn create_private(path: &Path) -> io::Result<()> {
    match create_new(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        // A link to a file that does not exist: SQLite would create that file.
        Err(_) if !path.exists() => {
            let folder = path.parent().unwrap_or(Path::new(""));
            create_new(&folder.join(std::fs::read_link(path)?))
        }
        _ => Ok(()),
    }
}

fn create_new(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// Returns the paths of a SQLite file and of the files next to it, which need not exist.
pub fn sqlite_files(path: &Path) -> impl Iterator<Item = PathBuf> {
    SQLITE_SUFFIXES.into_iter().map(|suffix| {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        PathBuf::from(file)
    })
}

/// Checks that a SQLite file and the files next to it, as far as they exist, belong to this user or to root.
/// Any other owner could write messages into them.
///
/// # Errors
/// Fails with what is wrong and what to do.
pub fn check_sqlite_owner(path: &Path) -> Result<(), String> {
    for file in sqlite_files(path) {
        // SQLite creates a file that is missing, and reports any other problem.
        if let Ok(metadata) = file.metadata() {
            check_owner(&file, &metadata)?;
        }
    }
    Ok(())
}

/// Opens a lock file for writing; creates it with the mode 0600 if it does not exist. It follows no symbolic
/// link.
///
/// # Errors
/// Fails with what is wrong and what to do: the file is a link, belongs to another user, or cannot be opened.
pub fn open_lock(path: &Path) -> Result<File, String> {
    let shown = path.display();
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let lock = options.open(path).map_err(|error| {
        if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
            format!("{shown} is a symbolic link, which is not followed; remove it")
        } else {
            format!("{shown}: {error}")
        }
    })?;
    let metadata = lock.metadata().map_err(|error| format!("{shown}: {error}"))?;
    check_owner(path, &metadata)?;
    Ok(lock)
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), String> {
    let (owner, user) = (metadata.uid(), geteuid().as_raw());
    if owner == user || owner == 0 {
        return Ok(());
    }
    Err(format!(
        "{} belongs to the user with the id {owner}, but this process runs as the user {user}; run it as its \
         owner, or change the owner (chown)",
        path.display()
    ))
}
