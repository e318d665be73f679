//! Reads the sources of values: a file, environment variables and flags. Each source becomes layers of known
//! keys with one origin, which figment merges; an unknown key becomes a problem.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::keys;
use super::problem::Problem;

const PREFIX: &str = "HOSTMATCH_";

/// The values from one origin, by `section.key`.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) origin: String,
    pub(super) values: BTreeMap<String, Value>,
}

impl Layer {
    /// Creates a layer of one value.
    pub(super) fn single(origin: impl Into<String>, key: &str, value: Value) -> Self {
        Self { origin: origin.into(), values: BTreeMap::from([(key.to_owned(), value)]) }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut sections: BTreeMap<String, Dict> = BTreeMap::new();
        for (key, value) in &self.values {
            if let Some((section, key)) = key.split_once('.') {
                sections.entry(section.to_owned()).or_default().insert(key.to_owned(), value.clone());
            }
        }
        let dict = sections.into_iter().map(|(section, dict)| (section, Value::from(dict))).collect();
        Ok(Profile::Default.collect(dict))
    }
}

/// Reads TOML text. `origin` describes where the text comes from.
pub(super) fn from_toml(origin: &str, text: &str, known: &[String], problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer { origin: origin.to_owned(), values: BTreeMap::new() };
    let dict: Dict = match Toml::from_str(text) {
        Ok(dict) => dict,
        Err(error) => {
            // The error's own display would quote the line, which may contain a secret.
            let line =
                error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
            let message = format!("not valid TOML, line {line}: {}", error.message().replace('\n', ", "));
            problems.push(Problem::new("", origin, message));
            return layer;
        }
    };
    for (section, value) in dict {
        match value {
            Value::Dict(_, dict) => {
                for (key, value) in dict {
                    let key = format!("{section}.{key}");
                    if known.contains(&key) {
                        layer.values.insert(key, value);
                    } else {
                        problems.push(Problem::new(&key, origin, keys::describe_unknown(known, &key)));
                    }
                }
            }
            _ if keys::sections(known).contains(&section.as_str()) => {
                let message = format!("is a section, not a key: write [{section}], and its keys below");
                problems.push(Problem::new(&section, origin, message));
            }
            _ => problems.push(Problem::new(&section, origin, keys::describe_unknown(known, &section))),
        }
    }
    layer
}

/// Reads a file.
pub(super) fn from_file(path: &Path, known: &[String], problems: &mut Vec<Problem>) -> Option<Layer> {
    let origin = format!("file {}", path.display());
    match std::fs::read_to_string(path) {
        Ok(text) => Some(from_toml(&origin, &text, known, problems)),
        Err(error) => {
            problems.push(Problem::new("", &origin, format!("cannot be read: {error}")));
            None
        }
    }
}

/// Reads `HOSTMATCH_<section>__<key>` from an environment, in upper or lower case. Everything else is ignored
/// (orchestrators set `HOSTMATCH_SERVICE_HOST` and similar). Values stay strings, exactly as they are, because
/// a password may look like a number.
pub(super) fn from_environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
    known: &[String],
    problems: &mut Vec<Problem>,
) -> Vec<Layer> {
    let mut layers: BTreeMap<String, Layer> = BTreeMap::new();
    for (name, value) in variables {
        let Some(name) = name.to_str() else { continue };
        let Some((section, key)) =
            name.get(PREFIX.len()..).filter(|_| has_prefix(name)).and_then(|rest| rest.split_once("__"))
        else {
            continue;
        };
        let key = format!("{section}.{key}").to_ascii_lowercase();
        let origin = format!("environment variable {name}");
        if !known.contains(&key) {
            problems.push(Problem::new(&key, &origin, keys::describe_unknown(known, &key)));
        } else if let Some(other) = layers.get(&key) {
            problems.push(Problem::new(&key, &origin, format!("is also set by {}", other.origin)));
        } else if let Some(text) = value.to_str() {
            layers.insert(key.clone(), Layer::single(origin, &key, Value::from(text)));
        } else {
            problems.push(Problem::new(&key, &origin, "is not valid UTF-8".to_owned()));
        }
    }
    layers.into_values().collect()
}

/// Returns a warning for each variable that has one underscore where two belong, and is therefore not read.
pub(super) fn single_underscore_warnings(
    variables: &[(OsString, OsString)],
    known: &[String],
) -> Vec<String> {
    let warning = |(name, _): &(OsString, OsString)| {
        let name = name.to_str().filter(|name| has_prefix(name))?;
        let rest = name.get(PREFIX.len()..)?.to_ascii_lowercase();
        let key = known.iter().find(|key| key.replacen('.', "_", 1) == rest)?;
        let correct = key.to_ascii_uppercase().replacen('.', "__", 1);
        Some(format!(
            "the environment variable {name} is not read; to set {key}, use {PREFIX}{correct}, with two underscores"
        ))
    };
    variables.iter().filter_map(warning).collect()
}

fn has_prefix(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Command-line flags as configuration.
#[derive(Clone, Debug, Default)]
pub struct Overrides(Vec<Layer>);

impl Overrides {
    /// Sets `key` (as `section.key`) to `value`; `flag` is the name of the flag, for error texts and
    /// `config show`. The last value for a key wins.
    pub fn set(&mut self, flag: &str, key: &str, value: &str) {
        self.0.push(Layer::single(format!("flag {flag}"), key, Value::from(value)));
    }

    pub(super) fn layers(&self, known: &[String], problems: &mut Vec<Problem>) -> Vec<Layer> {
        let mut layers = Vec::new();
        for layer in &self.0 {
            match layer.values.keys().find(|key| !known.contains(key)) {
                Some(key) => {
                    problems.push(Problem::new(key, &layer.origin, keys::describe_unknown(known, key)))
                }
                None => layers.push(layer.clone()),
            }
        }
        layers
    }
}
