//! Reads secrets from files: every secret `x` has a second key `x_file`, the path of a file that contains the
//! secret (Docker and systemd credentials).

use figment::Figment;
use figment::value::Value;

use super::keys::EMBEDDED_ORIGIN;
use super::layer::Layer;
use super::load::origin;
use super::problem::Problem;
use super::value::split_list;

/// Reads the file of every `x_file` that is set. Setting both `x` and `x_file` is an error, because it is
/// unclear which one is meant.
pub(super) fn read(
    figment: &Figment,
    embedded: &Layer,
    known: &[String],
    problems: &mut Vec<Problem>,
) -> Vec<Layer> {
    let mut layers = Vec::new();
    for key in known {
        let file_key = format!("{key}_file");
        let Some(path) = known.contains(&file_key).then(|| path(figment, &file_key)).flatten() else {
            continue;
        };
        let file_origin = origin(figment, &file_key);
        let value = figment.find_value(key).ok();
        if is_set(value.as_ref()) && origin(figment, key) != EMBEDDED_ORIGIN {
            let message = format!("{key} is also set, by {}: set only one of them", origin(figment, key));
            problems.push(Problem::new(&file_key, &file_origin, message));
            continue;
        }
        let is_list = matches!(embedded.values.get(key), Some(Value::Array(..)));
        match read_secrets(&path, is_list) {
            Ok(content) => layers.push(Layer::single(format!("file {path} ({file_key})"), key, content)),
            Err(message) => problems.push(Problem::new(&file_key, &file_origin, message)),
        }
    }
    layers
}

/// Returns a sentence for each list of secrets that is given as one text with commas, because a secret may
/// itself contain a comma.
pub(super) fn split_list_warnings(figment: &Figment, embedded: &Layer, known: &[String]) -> Vec<String> {
    let sentence = |key: &String| {
        let is_list = matches!(embedded.values.get(key), Some(Value::Array(..)));
        let value =
            figment.find_value(key).ok().filter(|_| is_list && known.contains(&format!("{key}_file")));
        let count = split_list(&value?.into_string()?).count();
        (count > 1).then(|| {
            format!(
                "{key} ({}) is split at its commas into {count} values; if a value contains a comma, use \
                 {key}_file, with one value in each line",
                origin(figment, key)
            )
        })
    };
    known.iter().filter_map(sentence).collect()
}

fn path(figment: &Figment, file_key: &str) -> Option<String> {
    figment.find_value(file_key).ok()?.into_string().filter(|path| !path.is_empty())
}

fn is_set(value: Option<&Value>) -> bool {
    match value {
        Some(Value::String(_, text)) => !text.is_empty(),
        Some(Value::Array(_, items)) => !items.is_empty(),
        _ => false,
    }
}

/// Reads the secrets in a file. A single secret is the whole file without its trailing newline; for a list,
/// each line is one secret.
fn read_secrets(path: &str, is_list: bool) -> Result<Value, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(format!("{path} is empty"));
    }
    if is_list {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(Value::from(lines.map(Value::from).collect::<Vec<_>>()))
    } else {
        Ok(Value::from(text))
    }
}
