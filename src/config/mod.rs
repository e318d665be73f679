//! The configuration, with one struct per section of `config.toml`, which documents every key and is the
//! embedded default. Later sources override earlier ones: embedded default, file, environment
//! (`HOSTMATCH_<section>__<key>`), flags.

mod value;
mod problem;
mod keys;
mod layer;
mod secret_files;
mod validate;
mod load;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use layer::Overrides;
pub use load::{Effective, RedactedValue, load, load_from};
pub use problem::{ConfigError, Problem};
pub use value::{Secret, parse_duration};

/// Everything that can be set. `config.toml` explains each key.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every key")]
pub struct Config {
    pub database: DatabaseConfig,
    pub gateway: GatewayConfig,
    pub queue: QueueConfig,
    pub worker: WorkerConfig,
    pub matching: MatchingConfig,
    pub appointments: AppointmentsConfig,
    pub calcom: CalcomConfig,
    pub retention: RetentionConfig,
    pub replay: ReplayConfig,
    pub edge: EdgeConfig,
    pub metrics: MetricsConfig,
    pub traces: TracesConfig,
    pub log: LogConfig,
}

/// `[database]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every key")]
pub struct DatabaseConfig {
    pub url: Secret,
    pub url_file: PathBuf,
    #[serde(deserialize_with = "value::number")]
    pub max_connections: u32,
    #[serde(with = "value::duration")]
    pub acquire_timeout: Duration,
    #[serde(with = "value::duration")]
    pub statement_timeout: Duration,
}

/// `[gateway]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every key")]
pub struct GatewayConfig {
    pub timezone: String,
}

/// `[queue]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every key")]
pub struct QueueConfig {
    pub url: Secret,
    pub url_file: PathBuf,
    pub prefix: String,
    pub topology: Topology,
    #[serde(deserialize_with = "value::number")]
    pub prefetch: u16,
    #[serde(deserialize_with = "value::number")]
    pub delivery_limit: u32,
    #[serde(with = "value::durations")]
    pub retry_delays: Vec<Duration>,
    #[serde(with = "value::duration")]
    pub confirm_timeout: Duration,
    #[serde(with = "value::duration")]
    pub connect_timeout: Duration,
    pub management_url: Secret,
    pub management_url_file: PathBuf,
    #[serde(deserialize_with = "value::secrets")]
    pub header_key: Vec<Secret>,
    pub header_key_file: PathBuf,
}

impl QueueConfig {
    /// Returns whether the queue is a file on this machine rather than a broker.
    pub fn is_embedded(&self) -> bool {
        self.url.expose().starts_with("sqlite:")
    }
}

/// Whether the program creates the broker's queues or only checks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topology {
    /// Create what is missing.
    Declare,
    /// Only check; this needs no configure permission.
    Verify,
}

/// `[worker]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every key")]
pub struct WorkerConfig {
    pub mode: Mode,
    #[serde(deserialize_with = "value::number")]
    pub pipelines: u16,
    #[serde(deserialize_with = "value::number")]
    pub batch_size: usize,
    #[serde(with = "value::bytes")]
    pub batch_bytes: usize,
    #[serde(with = "value::duration")]
    pub hold: Duration,
    #[serde(with = "value::duration")]
    pub stalled_after: Duration,
    #[serde(with = "value::duration")]
    pub shutdown_timeout: Duration,
    #[serde(deserialize_with = "value::number")]
    pub redecide_limit: u32,
    pub health_listen: String,
}

/// Whether a worker writes to the gateway's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Mode {
    /// The worker writes: appointments get their staff, and hosts their mappings.
    Assign,
    /// The worker decides, but only records in our own tables what it would have written.
    Observe,
}

/// `[matching]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every key")]
pub struct MatchingConfig {
    #[serde(deserialize_with = "value::number")]
    pub auto_accept: u8,
}

/// `[appointments]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every key")]
pub struct AppointmentsConfig {
    pub overwrite: Overwrite,
}

/// The values of `staff_id` that may be overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Overwrite {
    /// Only a value that we have set ourselves.
    Ours,
    /// No value; only an empty `staff_id` is filled.
    Never,
    /// Any value, whoever has set it.
    Always,
}

/// `[calcom]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every key")]
pub struct CalcomConfig {
    pub unknown_booking: UnknownBooking,
}

/// The result for a Cal.com webhook whose appointment never appears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownBooking {
    /// The event is dead-lettered as `appointment_not_found`.
    DeadLetter,
    /// The event is acknowledged and counted as `ignored`.
    Ignore,
}

/// `[retention]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every key")]
pub struct RetentionConfig {
    #[serde(with = "value::duration")]
    pub payloads: Duration,
    #[serde(with = "value::duration")]
    pub events: Duration,
    #[serde(with = "value::duration")]
    pub dead_letters: Duration,
    #[serde(with = "value::duration")]
    pub replays: Duration,
    #[serde(with = "value::duration")]
    pub inbox: Duration,
}

/// `[replay]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every key")]
pub struct ReplayConfig {
    #[serde(with = "value::duration")]
    pub plan_valid: Duration,
}

/// `[edge]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every key")]
pub struct EdgeConfig {
    pub listen: String,
    #[serde(with = "value::bytes")]
    pub body_limit: usize,
    #[serde(deserialize_with = "value::number")]
    pub events_limit: usize,
    #[serde(with = "value::bytes")]
    pub header_limit: usize,
    #[serde(deserialize_with = "value::number")]
    pub max_in_flight: usize,
    #[serde(with = "value::duration")]
    pub request_timeout: Duration,
    #[serde(with = "value::duration")]
    pub idle_timeout: Duration,
    #[serde(with = "value::duration")]
    pub write_timeout: Duration,
    #[serde(with = "value::bytes")]
    pub body_min_rate: usize,
    #[serde(deserialize_with = "value::number")]
    pub max_connections: usize,
    #[serde(deserialize_with = "value::number")]
    pub max_connections_per_address: usize,
    #[serde(deserialize_with = "value::boolean")]
    pub allow_unsigned: bool,
    #[serde(deserialize_with = "value::secrets")]
    pub calcom_secrets: Vec<Secret>,
    pub calcom_secrets_file: PathBuf,
    #[serde(deserialize_with = "value::secrets")]
    pub retell_api_keys: Vec<Secret>,
    pub retell_api_keys_file: PathBuf,
    #[serde(with = "value::duration")]
    pub retell_tolerance: Duration,
    #[serde(deserialize_with = "value::secrets")]
    pub gateway_secrets: Vec<Secret>,
    pub gateway_secrets_file: PathBuf,
    pub tokens_file: PathBuf,
    #[serde(deserialize_with = "value::number")]
    pub token_rate: u32,
    pub spool: PathBuf,
    #[serde(with = "value::bytes")]
    pub spool_max_bytes: usize,
    #[serde(with = "value::duration")]
    pub spool_max_age: Duration,
}

/// `[metrics]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every key")]
pub struct MetricsConfig {
    pub listen: String,
    #[serde(with = "value::duration")]
    pub sample_every: Duration,
}

/// `[traces]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every key")]
pub struct TracesConfig {
    pub endpoint: String,
    #[serde(deserialize_with = "value::ratio")]
    pub sample_ratio: f64,
    #[serde(deserialize_with = "value::secrets")]
    pub headers: Vec<Secret>,
    pub headers_file: PathBuf,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.toml documents every key")]
pub struct LogConfig {
    pub level: String,
    pub format: LogFormat,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One readable line per record.
    Text,
    /// One JSON object per line.
    Json,
}
