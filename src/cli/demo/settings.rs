//! The demo's configuration: a file that other commands work with too, and the secrets in it.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::directory::{Directory, MARK, OWNER_ONLY, QUEUE, SALON, TOKEN, TOKENS, USUAL};
use crate::cli::failure::Failure;

/// The secrets of one demo, made for it.
pub(super) struct Secrets {
    /// Cal.com signs its webhooks with it.
    pub(super) calcom: String,
    /// The gateway shows it with its events.
    pub(super) token: String,
}

/// Makes secrets, and writes them and the configuration into the directory. `listen` is the
/// edge's address, with the port that it really has.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn write(directory: &mut Directory, listen: &str) -> Result<Secrets, Failure> {
    let secret = || format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let secrets = Secrets { calcom: secret(), token: secret() };
    let hash = hex::encode(Sha256::digest(secrets.token.as_bytes()));
    directory.write(TOKEN, &format!("{}\n", secrets.token), OWNER_ONLY)?;
    directory.write(TOKENS, &format!("{hash}  the demo's gateway\n"), USUAL)?;
    directory.configure(&text(directory, listen, &secrets.calcom))?;
    Ok(secrets)
}

fn text(directory: &Directory, listen: &str, calcom: &str) -> String {
    let path = |name| directory.full.join(name).display().to_string();
    let url = |name| json!(format!("sqlite://{}", path(name)));
    // Texts in quotes: what JSON escapes, TOML reads in the same way.
    format!(
        include_str!("hostmatch.toml"),
        mark = MARK,
        salon = url(SALON),
        queue = url(QUEUE),
        listen = json!(listen),
        calcom = json!(calcom),
        tokens = json!(path(TOKENS)),
    )
}

/// The variables of this process's environment that set a key of the configuration, and so win
/// over the demo's file in every command but the demo itself.
pub(super) fn in_environment() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| name.to_ascii_uppercase().starts_with("HOSTMATCH_") && name.contains("__")).collect()
}
