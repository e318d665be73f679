//! Merges the layers into one [`Config`], and refuses invalid values.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::value::Value;

use super::keys::{self, EMBEDDED, EMBEDDED_ORIGIN};
use super::layer::{self, Layer, Overrides};
use super::problem::{ConfigError, Problem};
use super::{Config, secret_files, validate};

/// The file that is read, if it exists, when the caller specifies no file.
const DEFAULT_FILE: &str = "hostmatch.toml";

/// A configuration, and the origin of each value.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The values.
    pub config: Config,
    /// Key and origin, in the order of `config.toml`.
    pub origins: Vec<(String, String)>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// Probable mistakes that are not refused, one text each.
    pub warnings: Vec<String>,
}

/// A key with its value, without secrets.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RedactedValue {
    /// `section.key`
    pub key: String,
    /// The effective value. Secrets are hidden; in a URL, only the password and the parameters.
    pub value: serde_json::Value,
    /// The origin of the value.
    pub origin: String,
}

impl Effective {
    /// Returns every key with its value and origin, in the order of `config.toml`, with secrets hidden.
    ///
    /// # Errors
    /// Fails if a value cannot be written as JSON (a path that is not UTF-8).
    pub fn redacted(&self) -> Result<Vec<RedactedValue>, serde_json::Error> {
        let values = serde_json::to_value(&self.config)?;
        let redact = |(key, origin): &(String, String)| {
            let value = match key.as_str() {
                "database.url" => self.config.database.url.redacted_url().into(),
                "queue.url" => self.config.queue.url.redacted_url().into(),
                "queue.management_url" => self.config.queue.management_url.redacted_url().into(),
                _ => values.pointer(&format!("/{}", key.replace('.', "/"))).cloned().unwrap_or_default(),
            };
            RedactedValue { key: key.clone(), value, origin: origin.clone() }
        };
        Ok(self.origins.iter().map(redact).collect())
    }
}

/// Loads the configuration: the embedded default, then `file` (or `./hostmatch.toml` if it exists),
/// then the environment of the process, then `flags`.
///
/// # Errors
/// Fails with all problems at once: unreadable files, unknown keys, wrong types, invalid values, each with
/// its key and origin.
pub fn load(file: Option<&Path>, flags: &Overrides) -> Result<Effective, ConfigError> {
    load_from(file, std::env::vars_os(), flags)
}

/// Loads the configuration like [`load`], with the environment as an argument.
///
/// # Errors
/// See [`load`].
pub fn load_from(
    file: Option<&Path>,
    environment: impl Iterator<Item = (OsString, OsString)>,
    flags: &Overrides,
) -> Result<Effective, ConfigError> {
    let known = keys::all();
    let environment: Vec<(OsString, OsString)> = environment.collect();
    let mut warnings = layer::single_underscore_warnings(&environment, &known);
    let mut problems = Vec::new();
    let embedded = layer::from_toml(EMBEDDED_ORIGIN, EMBEDDED, &known, &mut problems);
    let default_file = Path::new(DEFAULT_FILE);
    let file = file.or_else(|| default_file.exists().then_some(default_file));

    let mut layers: Vec<Layer> = Vec::new();
    layers.extend(file.and_then(|path| layer::from_file(path, &known, &mut problems)));
    layers.extend(layer::from_environment(environment.into_iter(), &known, &mut problems));
    layers.extend(flags.layers(&known, &mut problems));
    let mut figment = merge(Figment::from(embedded.clone()), layers);

    let badly_typed = wrong_types(&figment, &embedded, &known);
    let mut refused: Vec<String> = badly_typed.iter().map(|problem| problem.key.clone()).collect();
    problems.extend(badly_typed);
    // A value that could not be read is replaced with its default, so that the rest is checked in the
    // same run.
    figment = merge(figment, defaults(&embedded, &refused));

    warnings.extend(secret_files::split_list_warnings(&figment, &embedded, &known));
    let contents = secret_files::read(&figment, &embedded, &known, &mut problems);
    refused.extend(problems.iter().map(|problem| problem.key.clone()));
    figment = merge(figment, contents);

    match figment.extract::<Config>() {
        Ok(config) => {
            for (key, message) in validate::check(&config) {
                if !refused.iter().any(|refused| refused == key) {
                    problems.push(Problem::new(key, &origin(&figment, key), message));
                }
            }
            if problems.is_empty() {
                let origins = known.into_iter().map(|key| (key.clone(), origin(&figment, &key))).collect();
                return Ok(Effective { config, origins, file: file.map(Path::to_owned), warnings });
            }
        }
        Err(error) => problems.push(Problem::new("", "configuration", reason(&error))),
    }
    Err(ConfigError(problems))
}

/// Returns the origin of the effective value.
pub(super) fn origin(figment: &Figment, key: &str) -> String {
    figment.find_metadata(key).map_or_else(String::new, |metadata| metadata.name.to_string())
}

fn merge(figment: Figment, layers: impl IntoIterator<Item = Layer>) -> Figment {
    layers.into_iter().fold(figment, Figment::merge)
}

/// Reads each non-default value on its own, merged over the defaults: figment stops at the first
/// error, and the user wants to see all of them.
fn wrong_types(figment: &Figment, embedded: &Layer, known: &[String]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for key in known {
        let origin = origin(figment, key);
        let Ok(value) = figment.find_value(key) else { continue };
        if origin == EMBEDDED_ORIGIN {
            continue;
        }
        let alone = Figment::from(embedded.clone()).merge(Layer::single(origin.clone(), key, value.clone()));
        if let Err(error) = alone.extract::<Config>() {
            problems.push(Problem::new(key, &origin, reason(&error)));
        }
    }
    problems
}

fn defaults(embedded: &Layer, keys: &[String]) -> Vec<Layer> {
    let value = |key: &String| embedded.values.get(key).cloned().unwrap_or_else(|| Value::from(""));
    keys.iter().map(|key| Layer::single(EMBEDDED_ORIGIN, key, value(key))).collect()
}

fn reason(error: &figment::Error) -> String {
    error.kind.to_string()
}
