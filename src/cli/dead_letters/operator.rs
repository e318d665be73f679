//! Who runs this command, for the record.

/// The person, as `cli:user@host`.
pub(super) fn who() -> String {
    let unknown = || "unknown".to_owned();
    let user = whoami::username().unwrap_or_else(|_| unknown());
    let host = whoami::hostname().unwrap_or_else(|_| unknown());
    format!("cli:{user}@{host}")
}
