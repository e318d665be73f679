//! Reads the list of keys from the embedded `config.toml`, which documents every key.

/// The embedded default configuration.
pub(super) const EMBEDDED: &str = include_str!("../../config.toml");

/// The name of the embedded default as an origin.
pub(super) const EMBEDDED_ORIGIN: &str = "default";

/// Returns every key as `section.key`, in the order of `config.toml`; a parsed table would lose the order.
pub(super) fn all() -> Vec<String> {
    let mut section = "";
    let mut keys = Vec::new();
    for line in EMBEDDED.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if !line.starts_with('#')
            && let Some((key, _)) = line.split_once(" = ")
        {
            keys.push(format!("{section}.{key}"));
        }
    }
    keys
}

/// Returns the sections, in order.
pub(super) fn sections(keys: &[String]) -> Vec<&str> {
    let mut sections: Vec<&str> = keys.iter().filter_map(|k| k.split_once('.')).map(|(s, _)| s).collect();
    sections.dedup();
    sections
}

/// Explains why a key that is not among `keys` is refused, and lists the keys that exist.
pub(super) fn describe_unknown(keys: &[String], key: &str) -> String {
    let section = key.split_once('.').map_or(key, |(section, _)| section);
    let prefix = format!("{section}.");
    let siblings: Vec<&str> = keys.iter().filter_map(|k| k.strip_prefix(&prefix)).collect();
    if siblings.is_empty() {
        format!("there is no section [{section}]; the sections are {}", sections(keys).join(", "))
    } else {
        format!("unknown key; [{section}] has {}", siblings.join(", "))
    }
}
