//! Writes figures to a file, for comparison over time.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Result;

/// Writes figures as JSON: to `path`, or to `target/bench/<bench>-<time>.json`.
///
/// # Errors
/// Fails if the file cannot be written.
pub(crate) fn write(path: Option<PathBuf>, bench: &str, figures: &impl Serialize) -> Result<()> {
    let now = hostmatch::runtime::clock::now_ms() / 1000;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    let path = path.unwrap_or_else(|| target.join(format!("{bench}-{now}.json")));
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let document = serde_json::json!({ "bench": bench, "at": now, "version": env!("CARGO_PKG_VERSION"), "figures": figures });
    std::fs::write(&path, format!("{document:#}\n"))?;
    writeln!(std::io::stdout(), "figures: {}", path.display())?;
    Ok(())
}
