//! Writes the demo's configuration, which other commands can use too, and its secrets.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::directory::{DEFAULT_MODE, Directory, MARKER, OWNER_ONLY, QUEUE, SALON, TOKEN, TOKENS};
use crate::cli::failure::Failure;

/// The secrets of one demo.
pub(super) struct Secrets {
    /// The key with which Cal.com signs its webhooks.
    pub(super) calcom: String,
    /// The bearer token that the gateway sends with its events.
    pub(super) token: String,
}

/// Creates secrets, and writes them and the configuration into the directory. `listen` is the edge's address
/// with its actual port.
///
/// # Errors
/// Fails if a file cannot be written.
pub(super) fn write(directory: &mut Directory, listen: &str) -> Result<Secrets, Failure> {
    let secret = || format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let secrets = Secrets { calcom: secret(), token: secret() };
    let hash = hex::encode(Sha256::digest(secrets.token.as_bytes()));
    directory.write(TOKEN, &format!("{}\n", secrets.token), OWNER_ONLY)?;
    directory.write(TOKENS, &format!("{hash}  the demo's gateway\n"), DEFAULT_MODE)?;
    directory.configure(&text(directory, listen, &secrets.calcom))?;
    Ok(secrets)
}

fn text(directory: &Directory, listen: &str, calcom: &str) -> String {
    let path = |name| directory.full.join(name).display().to_string();
    let url = |name| json!(format!("sqlite://{}", path(name)));
    // TOML reads quoted strings with JSON's escapes.
    format!(
        include_str!("hostmatch.toml"),
        mark = MARKER,
        salon = url(SALON),
        queue = url(QUEUE),
        listen = json!(listen),
        calcom = json!(calcom),
        tokens = json!(path(TOKENS)),
    )
}

/// Returns the environment variables that set a key of the configuration, and so override the demo's file in
/// every command except the demo itself.
pub(super) fn overriding_variables() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| name.to_ascii_uppercase().starts_with("HOSTMATCH_") && name.contains("__")).collect()
}
