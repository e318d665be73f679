//! A small file system that a test can fill.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A mounted tmpfs. Dropping it unmounts it.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts a disk of 64 MiB. Returns `None`, and says so, if this user may not mount.
    #[expect(clippy::print_stderr, reason = "a test that did not run must not look like one that passed")]
    pub(crate) fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(directory.path());
        if !mount.status().is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: only root can mount the small disk of this test");
            return None;
        }
        Some(Self(directory))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Fills the disk except for `free` bytes.
    pub(crate) fn fill(&self, free: u64) {
        let mut ballast = OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        for size in [1 << 20, 1 << 12] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
        ballast.set_len(ballast.metadata().unwrap().len() - free).unwrap();
    }

    /// Removes what [`Self::fill`] has written.
    pub(crate) fn make_room(&self) {
        File::create(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because a process of the test may still have files open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
