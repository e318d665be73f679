//! Logs with one subscriber for the whole program, to stderr. stdout is for results.
//!
//! No name, e-mail address or payload may appear in a log, at any level. Our own lines contain only ids. Other
//! crates print what they send or receive (lapin logs a returned message as a warning, with its body as a list
//! of bytes), so only those that are listed here are let through.

use std::io::{IsTerminal as _, stderr};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

use super::traces;
use crate::config::{LogConfig, LogFormat};

/// Our crates: everything that they log may be shown.
const OWN_CRATES: [&str; 2] = ["hostmatch", "migration"];

/// The modules of libraries whose lines, from level `info` up, may be shown: each was read, and none of its
/// lines contains data. What else happens to a connection, our own modules report.
const HARMLESS_MODULES: [&str; 2] = ["lapin::heartbeat", "sqlx_mysql::connection::establish"];

/// The reason why logs, metrics or traces could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.level` is not a filter.
    #[error("log.level: {0}")]
    Filter(String),
    /// Spans cannot be sent to the configured collector.
    #[error("traces.endpoint: {0}")]
    Traces(String),
    /// Logging or traces are already set up in this process.
    #[error("logging is already set up in this process")]
    AlreadySet,
    /// Metrics cannot be recorded, because of a bug in hostmatch or because a recorder is already installed.
    #[error("metrics cannot be recorded in this process: {0}")]
    Metrics(String),
}

/// Sends the logs of this process to stderr, as configured in `log`. Call this once, early.
///
/// # Errors
/// Fails if `log.level` is not a filter, or logging is already set up.
pub fn init(log: &LogConfig) -> Result<(), TelemetryError> {
    let layer = log_layer(log, stderr().is_terminal(), stderr)?;
    tracing_subscriber::registry().with(layer).try_init().map_err(|_| TelemetryError::AlreadySet)?;
    // A panic's own text may quote data, so only its location in the source is logged.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a thread panicked; this is a bug in hostmatch, please report it");
    }));
    Ok(())
}

type LogLayer = Box<dyn Layer<Registry> + Send + Sync>;

fn log_layer<W>(log: &LogConfig, terminal: bool, writer: W) -> Result<LogLayer, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter =
        EnvFilter::builder().parse(&log.level).map_err(|error| TelemetryError::Filter(error.to_string()))?;
    let is_text = match log.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let layer: LogLayer = if is_text {
        let format = WithTraceId { format: fmt::format().with_ansi(terminal), json: false };
        Box::new(fmt::layer().with_ansi(terminal).event_format(format).with_writer(writer))
    } else {
        let format = fmt::format().json().flatten_event(true).with_span_list(false);
        let format = WithTraceId { format, json: true };
        Box::new(fmt::layer().event_format(format).fmt_fields(JsonFields::new()).with_writer(writer))
    };
    Ok(Box::new(layer.with_filter(filter).with_filter(filter_fn(is_allowed))))
}

/// Formats lines as usual, and appends their trace id.
struct WithTraceId<F> {
    format: F,
    json: bool,
}

impl<S, N, F> FormatEvent<S, N> for WithTraceId<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let Some(trace) = traces::current_trace() else {
            return self.format.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end_matches('\n');
        match line.strip_suffix('}').filter(|_| self.json) {
            Some(unclosed) => writeln!(writer, r#"{unclosed},"trace_id":"{trace}"}}"#),
            None => writeln!(writer, "{line} trace_id={trace}"),
        }
    }
}

/// Returns whether a line may be logged.
fn is_allowed(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let is_in =
        |name: &&str| target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    OWN_CRATES.iter().any(is_in)
        || (*metadata.level() <= LevelFilter::INFO && HARMLESS_MODULES.iter().any(is_in))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Logs lines of several crates, and returns the output at this level and in this format.
    fn written(level: &str, format: LogFormat) -> String {
        let written = Written::default();
        let writer = written.clone();
        let log = LogConfig { level: level.to_owned(), format };
        let layer = log_layer(&log, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(target: "hostmatch::worker", id = 7, "ours");
            tracing::trace!(target: "hostmatch::worker", "ours in detail");
            tracing::error!(target: "lapin::heartbeat", "theirs");
            tracing::debug!(target: "lapin::heartbeat", "their bytes");
            tracing::error!(target: "lapin::returned_messages", "a message's bytes");
            tracing::error!(target: "lapin::io_loop", "aborting recovery, which is ours; bytes");
            tracing::debug!(target: "hostmatches", "a stranger's bytes");
        });
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn only_listed_modules_of_libraries_log() {
        let info = written("info", LogFormat::Text);
        assert!(info.contains("ours") && !info.contains("detail") && info.contains("theirs"), "{info}");
        assert!(!info.contains("bytes"), "{info}");
        let all = written("trace,lapin=trace", LogFormat::Text);
        assert!(all.contains("detail") && all.contains("theirs"), "{all}");
        assert!(!all.contains("bytes"), "{all}");
    }

    #[test]
    fn json_is_one_object_per_line_and_text_has_no_colour_off_a_terminal() {
        let json = written("info,lapin=off", LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
        assert_eq!((&line["message"], &line["id"]), (&"ours".into(), &7.into()));
        assert_eq!(written("info,lapin=off", LogFormat::Auto).matches('{').count(), 1, "json off a terminal");
        assert!(!written("info", LogFormat::Text).contains('\u{1b}'));
    }

    #[test]
    fn an_invalid_filter_is_refused() {
        let log = LogConfig { level: "info,hostmatch=loud".to_owned(), format: LogFormat::Auto };
        let refused = log_layer(&log, false, stderr).err().unwrap().to_string();
        assert!(refused.contains("log.level"), "{refused}");
    }
}
