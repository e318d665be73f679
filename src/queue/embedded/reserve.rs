//! Room on the disk that is kept for removing messages.
//!
//! Even a removal needs room: SQLite first writes the pages that it changes to the `-wal` file. On a full disk
//! nothing could be removed, and so nothing forwarded or acknowledged. Therefore a file of a fixed size takes
//! up room. On a full disk it is released part by part, and until it is whole again, new messages are accepted
//! only as far as the file of the queue has free pages.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use crate::runtime::private_file;

/// The size of a whole reserve. The `-wal` file grows to about 1,000 pages of 4 KiB and one transaction of up to
/// 4 MiB, and as much may have to be copied from it to the end of the file before SQLite writes it from its
/// beginning again.
const SIZE: u64 = 16 << 20;
/// The part that is released at once. If another program takes it, the next part is released.
const PART: u64 = 2 << 20;
/// The room that must be left on the disk after the reserve has been made whole.
const MIN_FREE: u64 = 1 << 20;

/// The reserve of one file.
#[derive(Clone)]
pub(super) struct Reserve(PathBuf);

impl Reserve {
    /// Returns the reserve of the queue or spool at `path`: a file next to it, on the same disk.
    pub(super) fn of(path: &str) -> Self {
        // The file may be a link to another disk.
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
        Self(format!("{}.reserve", target.display()).into())
    }

    /// Returns whether the whole reserve exists; makes it whole if there is room.
    pub(super) async fn is_whole(&self) -> bool {
        self.run(|path| {
            let size = size(path);
            if size < SIZE && !has_room(path, SIZE - size) {
                return false;
            }
            size >= SIZE || make_whole(path).is_ok()
        })
        .await
    }

    /// Releases a part. Returns false if nothing was left to release.
    pub(super) async fn release_part(&self) -> bool {
        self.run(|path| {
            let size = size(path);
            let released = size > 0 && shrink(path, size.saturating_sub(PART)).is_ok();
            if released && size >= SIZE {
                tracing::warn!(
                    file = %path.display(),
                    "the disk is full: messages are removed with the help of the reserved room; free some space"
                );
            }
            released
        })
        .await
    }

    /// Runs the work on a thread that may wait for the disk.
    async fn run(&self, work: impl FnOnce(&Path) -> bool + Send + 'static) -> bool {
        let path = self.0.clone();
        tokio::task::spawn_blocking(move || work(&path)).await.unwrap_or(false)
    }
}

fn size(path: &Path) -> u64 {
    path.symlink_metadata().map_or(0, |metadata| metadata.len())
}

fn has_room(path: &Path, missing: u64) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    statvfs(folder).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= missing + MIN_FREE)
}

fn open(path: &Path) -> io::Result<File> {
    let file = private_file::open_lock(path).map_err(io::Error::other)?;
    // Several processes may share the queue.
    file.try_lock()?;
    Ok(file)
}

fn shrink(path: &Path, size: u64) -> io::Result<()> {
    open(path)?.set_len(size)
}

fn make_whole(path: &Path) -> io::Result<()> {
    let mut file = open(path)?;
    let size = file.metadata()?.len();
    if let Err(error) = allocate(&mut file, size, SIZE.saturating_sub(size)) {
        file.set_len(size)?;
        return Err(error);
    }
    tracing::debug!(file = %path.display(), "room on the disk is reserved");
    Ok(())
}

fn allocate(file: &mut File, from: u64, added: u64) -> io::Result<()> {
    match fallocate(&*file, FallocateFlags::empty(), from, added) {
        // Not every file system can allocate without writing.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
            file.seek(SeekFrom::Start(from))?;
            io::copy(&mut io::Read::take(io::repeat(0), added), file)?;
            file.flush()
        }
        allocated => Ok(allocated?),
    }
}
