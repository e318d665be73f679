//! The demo's directory. Writes and removes files only in a directory that a demo created.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;

/// The first line of the configuration file, which marks a demo's directory.
pub(super) const MARKER: &str = "# Made by `hostmatch demo`, and made anew by its next run.";

/// The configuration with which other commands work on the demo's files. It marks the directory.
pub(super) const CONFIGURATION: &str = "hostmatch.toml";
pub(super) const SALON: &str = "salon.db";
pub(super) const QUEUE: &str = "queue.db";
/// The gateway's bearer token, and the file with its hash for the edge.
pub(super) const TOKEN: &str = "token";
pub(super) const TOKENS: &str = "tokens";
/// The event for the user to publish.
pub(super) const NEXT_BOOKING: &str = "next-booking.json";

/// The mode of files with a secret: only the user who runs the demo may read them.
pub(super) const OWNER_ONLY: u32 = 0o600;
/// The mode of other files, subject to the umask.
pub(super) const DEFAULT_MODE: u32 = 0o666;

/// A directory that this demo has locked until the value is dropped.
#[derive(Debug)]
pub(super) struct Directory {
    /// The path as given, for the commands that are shown.
    pub(super) shown: PathBuf,
    pub(super) full: PathBuf,
    /// The configuration file, open and locked against a second demo.
    configuration: File,
}

impl Directory {
    /// Claims `path` for the demo: creates it, or removes the files of an earlier demo.
    ///
    /// # Errors
    /// Fails if the directory contains anything else, if a demo is running there, or if it cannot be written.
    pub(super) fn claim(path: &Path) -> Result<Self, Failure> {
        let is_demo = is_demo_directory(path)?;
        let full = std::path::absolute(path).map_err(|error| unusable(path, &error))?;
        // Both database URLs contain the path, and each library reads these characters differently.
        if full.to_str().is_none_or(|text| text.contains(['?', '%', '#']) || text.contains(char::is_control))
        {
            let text = format!(
                "{} cannot be part of a database URL; choose a path without ? % # and control characters \
                 with --dir",
                path.display()
            );
            return Err(Failure::new(Exit::Usage, text));
        }
        std::fs::create_dir_all(&full).map_err(|error| unusable(path, &error))?;
        let file = full.join(CONFIGURATION);
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(OWNER_ONLY).create_new(!is_demo);
        let configuration = options.open(&file).map_err(|error| unusable(&file, &error))?;
        lock(path, &configuration)?;
        let mut directory = Self { shown: path.to_owned(), full, configuration };
        // Written first, so that the next run recognizes the directory even if this one ends early.
        directory.configure(&format!("{MARKER}\n"))?;
        directory.remove_files()?;
        Ok(directory)
    }

    /// Removes an earlier demo's files, and the directory if nothing else is in it. Returns whether there was
    /// a demo.
    ///
    /// # Errors
    /// Fails like [`Directory::claim`].
    pub(super) fn remove(path: &Path) -> Result<bool, Failure> {
        if !is_demo_directory(path)? {
            return Ok(false);
        }
        let file = path.join(CONFIGURATION);
        let configuration = File::open(&file).map_err(|error| unusable(&file, &error))?;
        lock(path, &configuration)?;
        let directory = Self { shown: path.to_owned(), full: path.to_owned(), configuration };
        directory.remove_files()?;
        std::fs::remove_file(&file).map_err(|error| unusable(&file, &error))?;
        match std::fs::remove_dir(path) {
            // Other files stay, and so does the directory.
            Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => Err(unusable(path, &error)),
            _ => Ok(true),
        }
    }

    /// Writes the configuration, which begins with the mark.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub(super) fn configure(&mut self, text: &str) -> Result<(), Failure> {
        let file = &mut self.configuration;
        // Written in place, because the lock belongs to this file.
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(OWNER_ONLY)))
            .and_then(|()| file.write_all(text.as_bytes()));
        written.map_err(|error| unusable(&self.full.join(CONFIGURATION), &error))
    }

    /// Writes one of the demo's other files.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub(super) fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), Failure> {
        let path = self.full.join(name);
        let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| unusable(&path, &error))
    }

    /// Removes everything that a demo creates, except the configuration.
    fn remove_files(&self) -> Result<(), Failure> {
        let databases = [SALON, QUEUE]
            .iter()
            .flat_map(|name| ["", "-wal", "-shm", ".reserve"].map(|end| format!("{name}{end}")));
        for name in databases.chain([TOKEN, TOKENS, NEXT_BOOKING].map(str::to_owned)) {
            let path = self.full.join(name);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(unusable(&path, &error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns whether an earlier demo created this directory. False if it is empty or does not exist.
fn is_demo_directory(path: &Path) -> Result<bool, Failure> {
    match std::fs::read_dir(path).map(|mut entries| entries.next()) {
        Ok(None) => return Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Ok(Some(_)) => {}
        Err(error) => return Err(unusable(path, &error)),
    }
    let configuration = std::fs::read(path.join(CONFIGURATION)).unwrap_or_default();
    if configuration.split(|byte| *byte == b'\n').next() == Some(MARKER.as_bytes()) {
        return Ok(true);
    }
    let text = format!(
        "{} is not empty and not a demo's directory; nothing was changed. Choose another directory with --dir",
        path.display()
    );
    Err(Failure::new(Exit::NotAllowed, text))
}

fn lock(path: &Path, configuration: &File) -> Result<(), Failure> {
    configuration.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            let text = format!(
                "a demo is running in {}; stop it, or choose another directory with --dir",
                path.display()
            );
            Failure::new(Exit::NotAllowed, text)
        }
        TryLockError::Error(error) => unusable(path, &error),
    })
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    let text = format!(
        "{} cannot be used for the demo: {error}; choose another directory with --dir",
        path.display()
    );
    Failure::new(Exit::Failed, text)
}
