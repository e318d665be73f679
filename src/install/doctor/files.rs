//! Checks files, folders and disks on this machine.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};
use time::OffsetDateTime;

use super::urls::{file, has_password};
use super::{Code, Report, Role};
use crate::config::{Config, Effective};
use crate::http::tokens::read_line;
use crate::runtime::private_file::sqlite_files;

const READABLE_BY_OTHERS: u32 = 0o004;
const WRITABLE_BY_OTHERS: u32 = 0o002;
/// A disk with less free space than this counts as full.
const FULL_BELOW: u64 = 64 << 20;
/// A disk needs its size divided by this in free space, but never more than [`ENOUGH_FREE`].
const MIN_FREE_DIVISOR: u64 = 20;
const ENOUGH_FREE: u64 = 1 << 30;

pub(super) fn check(effective: &Effective, role: Role, report: &mut Report) {
    report.checked(Code::SecretReadable.to(Code::DiskNearlyFull));
    let config = &effective.config;
    for (key, path, is_secret) in files_to_read(effective) {
        check_modes(&key, &path, is_secret.then_some((Code::SecretReadable, "secrets")), report);
    }
    if role.has_edge() {
        check_tokens(config, report);
    }
    for (key, path, max_size) in files_to_write(config, role) {
        for file in sqlite_files(&path) {
            check_modes(key, &file, Some((Code::DataReadable, "bookings")), report);
        }
        check_folder(key, &path, report);
        check_disk(key, &path, max_size, report);
    }
}

/// Returns the files that are read: the key, the path, and whether the file contains secrets.
fn files_to_read(effective: &Effective) -> Vec<(String, PathBuf, bool)> {
    let config = &effective.config;
    let mut files = Vec::new();
    for one in effective.redacted().unwrap_or_default() {
        if let Some(path) = one.value.as_str().filter(|path| !path.is_empty() && one.key.ends_with("_file")) {
            // The token file contains only hashes.
            let is_secret = one.key != "edge.tokens_file";
            files.push((one.key.clone(), PathBuf::from(path), is_secret));
        }
    }
    if let Some(path) = &effective.file {
        let origin = format!("file {}", path.display());
        let is_from_file =
            |key: &str| effective.origins.iter().any(|(of, from)| of == key && *from == origin);
        let urls = [
            ("database.url", &config.database.url),
            ("queue.url", &config.queue.url),
            ("queue.management_url", &config.queue.management_url),
        ];
        let lists = [
            "edge.calcom_secrets",
            "edge.retell_api_keys",
            "edge.gateway_secrets",
            "queue.header_key",
            "traces.headers",
        ];
        let is_secret = urls.iter().any(|(key, url)| is_from_file(key) && has_password(url.expose()))
            || lists.iter().any(|key| is_from_file(key));
        files.push(("--config".to_owned(), path.clone(), is_secret));
    }
    files
}

/// Checks that not every user of this machine can change or read this file. `private`: the code to report if
/// they can read it, and what is in it; `None` if they may.
fn check_modes(key: &str, path: &Path, private: Option<(Code, &str)>, report: &mut Report) {
    // The code that reads the file reports if it is missing.
    let Ok(metadata) = path.metadata() else { return };
    let (mode, path) = (metadata.mode(), path.display());
    let subject = format!("{path} ({key})");
    if metadata.is_file() && mode & WRITABLE_BY_OTHERS != 0 {
        let what = format!("its mode is {:o}: every user can change it", mode & 0o7777);
        report.found_with(Code::FileWritable, &subject, what, format!("chmod o-w '{path}'"));
    }
    if let Some((code, content)) = private
        && metadata.is_file()
        && mode & READABLE_BY_OTHERS != 0
    {
        let what = format!("its mode is {:o}: every user can read the {content} in it", mode & 0o7777);
        let mut remedy = format!("chmod o-rwx '{path}'");
        if code == Code::SecretReadable {
            remedy += " (Kubernetes: defaultMode: 0440 and fsGroup)";
        }
        report.found_with(code, &subject, what, remedy);
    }
}

fn check_tokens(config: &Config, report: &mut Report) {
    let path = &config.edge.tokens_file;
    if path.as_os_str().is_empty() {
        return;
    }
    let subject = format!("{} (edge.tokens_file)", path.display());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return report.found(Code::FileUnreadable, subject, error.to_string()),
    };
    let mut expired = Vec::new();
    for (index, line) in text.lines().enumerate() {
        match read_line(line) {
            Ok(Some(token)) if token.terms.has_expired(OffsetDateTime::now_utc()) => expired.push(token.id()),
            Ok(_) => {}
            Err(problem) => {
                report.found(Code::TokenLineLeftOut, &subject, format!("line {} {problem}", index + 1));
            }
        }
    }
    if !expired.is_empty() {
        report.found(Code::TokensExpired, subject, format!("expired: {}", expired.join(", ")));
    }
}

/// Returns the files that are written: the key, the path, and the maximum size in bytes.
fn files_to_write(config: &Config, role: Role) -> Vec<(&'static str, PathBuf, u64)> {
    let mut written = Vec::new();
    let mut add =
        |key, path: Option<PathBuf>, max_size| written.extend(path.map(|path| (key, path, max_size)));
    if role.has_worker() {
        add("database.url", file(config.database.url.expose()), 0);
    }
    if config.queue.is_embedded() {
        add("queue.url", file(config.queue.url.expose()), 0);
    } else if role.has_edge() && !config.edge.spool.as_os_str().is_empty() {
        let max_size = u64::try_from(config.edge.spool_max_bytes).unwrap_or(u64::MAX);
        add("edge.spool", Some(config.edge.spool.clone()), max_size);
    }
    written
}

fn folder_of(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

fn check_folder(key: &str, path: &Path, report: &mut Report) {
    let folder = folder_of(path);
    let subject = format!("{} ({key})", path.display());
    let shown = folder.display();
    if !folder.is_dir() {
        let what = format!("there is no folder {shown}");
        let remedy =
            format!("mkdir -p '{shown}', as the user that runs hostmatch; or set {key} to another path");
        return report.found_with(Code::FolderUnwritable, subject, what, remedy);
    }
    // SQLite writes more files next to it.
    let problem = if access(&folder, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        format!("this user cannot write to the folder {shown}")
    } else if path.exists() && access(path, Access::READ_OK | Access::WRITE_OK).is_err() {
        "this user cannot write to the file".to_owned()
    } else {
        return;
    };
    let remedy = format!(
        "give the folder and the file to the user that runs hostmatch (chown); or set {key} to another path"
    );
    report.found_with(Code::FolderUnwritable, subject, problem, remedy);
}

fn check_disk(key: &str, path: &Path, max_size: u64, report: &mut Report) {
    let Ok(disk) = statvfs(folder_of(path)) else { return };
    let (free, total) = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize);
    // The space that the file already uses does not have to be free.
    let growth = max_size.saturating_sub(path.metadata().map_or(0, |metadata| metadata.len()));
    let Some((code, what)) = space_problem(free, total, growth) else { return };
    report.found(code, format!("{} ({key})", path.display()), what);
}

fn space_problem(free: u64, total: u64, growth: u64) -> Option<(Code, String)> {
    let [free_mib, total_mib, growth_mib] = [free, total, growth].map(|bytes| bytes >> 20);
    if free < FULL_BELOW {
        Some((Code::DiskFull, format!("{free_mib} MiB are free")))
    } else if free < (total / MIN_FREE_DIVISOR).min(ENOUGH_FREE) {
        Some((Code::DiskNearlyFull, format!("{free_mib} of {total_mib} MiB are free")))
    } else {
        let what = format!("{free_mib} MiB are free, but it may grow by {growth_mib} MiB");
        (free < growth).then_some((Code::DiskNearlyFull, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_judged_by_free_space_and_expected_growth() {
        let mib = 1 << 20;
        let code = |free, total, growth| space_problem(free, total, growth).map(|(code, _)| code);
        assert_eq!(code(63 * mib, 100 * mib, 0), Some(Code::DiskFull));
        assert_eq!(code(100 * mib, 3000 * mib, 0), Some(Code::DiskNearlyFull));
        assert_eq!(code(1000 * mib, 900_000 * mib, 0), Some(Code::DiskNearlyFull));
        assert_eq!(code(1100 * mib, 900_000 * mib, 0), None);
        assert_eq!(code(900 * mib, 3000 * mib, 1024 * mib), Some(Code::DiskNearlyFull));
        assert_eq!(code(900 * mib, 3000 * mib, 512 * mib), None);
    }
}
