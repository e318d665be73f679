//! Finds values that have the right type but are invalid.

use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};

use super::{Config, Secret};

const HOUR: Duration = Duration::from_secs(3600);

/// The smallest number of characters of a secret with which requests are signed. A shorter one is a mistake
/// (a placeholder, or a part of a secret that contains a comma), and can be guessed from one signed request.
const MIN_SECRET: usize = 8;

/// Returns the key of every invalid value, and which values are valid. Makes no connections.
pub(super) fn check(config: &Config) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    check_database(config, &mut found);
    check_queue(config, &mut found);
    check_worker(config, &mut found);
    check_edge(config, &mut found);
    check_secrets(config, &mut found);
    check_traces(config, &mut found);
    if !config.metrics.listen.is_empty() && !is_address(&config.metrics.listen) {
        refuse(&mut found, "metrics.listen", "must be empty, or an address and port such as 127.0.0.1:9464");
    }
    if config.matching.auto_accept > 100 {
        refuse(&mut found, "matching.auto_accept", "must be a confidence from 0 to 100");
    }
    if let Err(message) = log_level(&config.log.level) {
        found.push(("log.level", message));
    }
    check_positive(config, &mut found);
    found
}

type InvalidValues = Vec<(&'static str, String)>;

fn refuse(found: &mut InvalidValues, key: &'static str, message: &str) {
    found.push((key, message.to_owned()));
}

fn check_database(config: &Config, found: &mut InvalidValues) {
    if !has_scheme(config.database.url.expose(), &["mysql", "mariadb", "postgres", "postgresql", "sqlite"]) {
        // The URL itself is not quoted, because it may contain a password.
        refuse(found, "database.url", "must begin with mysql://, postgres:// or sqlite://");
    } else if !names_database(config.database.url.expose()) {
        refuse(
            found,
            "database.url",
            "names no database: write it after the server, as in mysql://host:3306/gateway",
        );
    }
    if !(1..=1000).contains(&config.database.max_connections) {
        refuse(found, "database.max_connections", "must be 1 to 1000");
    }
    if !is_timezone(&config.gateway.timezone) {
        refuse(
            found,
            "gateway.timezone",
            "must be \"server\", an offset such as \"+02:00\", or a name such as \"Europe/Berlin\"",
        );
    }
}

fn check_queue(config: &Config, found: &mut InvalidValues) {
    let queue = &config.queue;
    if !has_scheme(queue.url.expose(), &["sqlite", "amqp", "amqps"]) {
        refuse(found, "queue.url", "must begin with sqlite://, amqp:// or amqps://");
    }
    let management = queue.management_url.expose();
    if !management.is_empty() && !has_scheme(management, &["http", "https"]) {
        refuse(found, "queue.management_url", "must be empty, or begin with http:// or https://");
    }
    let prefix_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !(1..=64).contains(&queue.prefix.len()) || !queue.prefix.chars().all(prefix_char) {
        refuse(found, "queue.prefix", "must be 1 to 64 letters, digits, dots, underscores and hyphens");
    }
    if queue.prefetch == 0 {
        refuse(found, "queue.prefetch", "must be positive: 0 would mean no limit");
    }
    if !(1..=10_000).contains(&queue.delivery_limit) {
        refuse(found, "queue.delivery_limit", "must be 1 to 10000");
    }
    let delays = &queue.retry_delays;
    let repeated = delays.iter().enumerate().any(|(i, delay)| delays[..i].contains(delay));
    if delays.is_empty() || delays.len() > 20 {
        refuse(found, "queue.retry_delays", "must have 1 to 20 delays");
    } else if delays.iter().any(|delay| delay.is_zero() || *delay > 24 * HOUR) {
        refuse(found, "queue.retry_delays", "every delay must be more than 0 and at most 24h");
    } else if repeated {
        refuse(found, "queue.retry_delays", "contains a delay twice, but each delay has its own wait queue");
    }
}

fn check_worker(config: &Config, found: &mut InvalidValues) {
    let worker = &config.worker;
    if !(1..=64).contains(&worker.pipelines) {
        refuse(found, "worker.pipelines", "must be 1 to 64");
    }
    if !(1..=10_000).contains(&worker.batch_size) {
        refuse(found, "worker.batch_size", "must be 1 to 10000");
    } else if worker.batch_size > usize::from(config.queue.prefetch) && config.queue.prefetch > 0 {
        let prefetch = config.queue.prefetch;
        let message = format!("must be at most queue.prefetch ({prefetch}): a larger batch could never fill");
        found.push(("worker.batch_size", message));
    }
    if worker.batch_bytes == 0 {
        refuse(found, "worker.batch_bytes", "must be positive");
    }
    if worker.redecide_limit == 0 {
        refuse(found, "worker.redecide_limit", "must be positive");
    }
    if !worker.health_listen.is_empty() && !is_address(&worker.health_listen) {
        refuse(found, "worker.health_listen", "must be empty, or an address and port such as 127.0.0.1:8081");
    }
    // RabbitMQ closes the channel of a consumer that has not acknowledged for 30 minutes.
    if worker.hold >= Duration::from_secs(25 * 60) {
        refuse(found, "worker.hold", "must be less than 25m, well below the broker's consumer timeout");
    }
}

fn check_edge(config: &Config, found: &mut InvalidValues) {
    let edge = &config.edge;
    if !is_address(&edge.listen) {
        refuse(found, "edge.listen", "must be an address and port such as 127.0.0.1:8080 or [::1]:8080");
    }
    // RabbitMQ 4 refuses messages over 16 MiB; every event that the edge accepts must fit into the queue.
    if edge.body_limit == 0 || edge.body_limit > 16 << 20 {
        refuse(found, "edge.body_limit", "must be 1 byte to 16MiB");
    }
    if !(1..=100_000).contains(&edge.events_limit) {
        refuse(found, "edge.events_limit", "must be 1 to 100000");
    }
    if !(8 << 10..=1 << 20).contains(&edge.header_limit) {
        refuse(found, "edge.header_limit", "must be 8KiB to 1MiB");
    }
    if edge.token_rate > 1_000_000 {
        refuse(found, "edge.token_rate", "must be at most 1000000 events per second; 0 means no limit");
    }
    if edge.max_in_flight == 0 {
        refuse(found, "edge.max_in_flight", "must be positive");
    }
    if edge.idle_timeout <= edge.request_timeout {
        let why = "must be more than edge.request_timeout: a request in progress must not be cut off";
        refuse(found, "edge.idle_timeout", why);
    }
    if edge.max_connections == 0 {
        refuse(found, "edge.max_connections", "must be positive");
    }
    if edge.body_min_rate > edge.body_limit {
        refuse(found, "edge.body_min_rate", "must be at most edge.body_limit per second; 0 means no limit");
    }
    if edge.spool_max_bytes < edge.body_limit {
        refuse(found, "edge.spool_max_bytes", "must be at least edge.body_limit: one event must fit");
    }
}

/// Refuses secrets that are blank or too short. Blanks at the ends do not count.
fn check_secrets(config: &Config, found: &mut InvalidValues) {
    let edge = &config.edge;
    for (key, secrets) in [
        ("edge.calcom_secrets", &edge.calcom_secrets),
        ("edge.retell_api_keys", &edge.retell_api_keys),
        ("edge.gateway_secrets", &edge.gateway_secrets),
        ("queue.header_key", &config.queue.header_key),
    ] {
        let is_short = |secret: &Secret| secret.expose().trim().chars().count() < MIN_SECRET;
        let Some(first) = secrets.iter().position(is_short) else { continue };
        let (number, count) = (first + 1, secrets.len());
        let what = if secrets[first].expose().trim().is_empty() { "is blank" } else { "is too short" };
        let mut message = format!("secret {number} of {count} {what}: use at least {MIN_SECRET} characters");
        if count > 1 {
            let hint =
                format!("; commas separate secrets, so write one that contains a comma into {key}_file");
            message.push_str(&hint);
        }
        found.push((key, message));
    }
}

fn check_traces(config: &Config, found: &mut InvalidValues) {
    let traces = &config.traces;
    match reqwest::Url::parse(&traces.endpoint) {
        _ if traces.endpoint.is_empty() => {}
        Ok(url) if !url.username().is_empty() || url.password().is_some() || url.query().is_some() => {
            let why = "must contain no secret: put the collector's credentials into traces.headers";
            refuse(found, "traces.endpoint", why);
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {}
        _ => refuse(found, "traces.endpoint", "must be a URL such as http://collector:4318, or empty"),
    }
    if !(0.0..=1.0).contains(&traces.sample_ratio) {
        refuse(found, "traces.sample_ratio", "must be a ratio from 0 to 1");
    }
    let is_header = |text: &str| {
        text.split_once('=').is_some_and(|(name, value)| {
            let value = value.trim();
            !value.is_empty()
                && HeaderName::try_from(name.trim()).is_ok()
                && HeaderValue::try_from(value).is_ok()
        })
    };
    if !traces.headers.iter().all(|header| is_header(header.expose())) {
        refuse(found, "traces.headers", "every header must be name=value (the values are not shown)");
    }
}

fn check_positive(config: &Config, found: &mut InvalidValues) {
    let durations = [
        ("database.acquire_timeout", config.database.acquire_timeout),
        ("database.statement_timeout", config.database.statement_timeout),
        ("queue.confirm_timeout", config.queue.confirm_timeout),
        ("queue.connect_timeout", config.queue.connect_timeout),
        ("worker.hold", config.worker.hold),
        ("worker.stalled_after", config.worker.stalled_after),
        ("worker.shutdown_timeout", config.worker.shutdown_timeout),
        ("retention.payloads", config.retention.payloads),
        ("retention.events", config.retention.events),
        ("retention.dead_letters", config.retention.dead_letters),
        ("retention.replays", config.retention.replays),
        ("retention.inbox", config.retention.inbox),
        ("replay.plan_valid", config.replay.plan_valid),
        ("metrics.sample_every", config.metrics.sample_every),
        ("edge.request_timeout", config.edge.request_timeout),
        ("edge.write_timeout", config.edge.write_timeout),
        ("edge.retell_tolerance", config.edge.retell_tolerance),
        ("edge.spool_max_age", config.edge.spool_max_age),
    ];
    for (key, duration) in durations {
        if duration.is_zero() {
            refuse(found, key, "must be more than 0");
        }
    }
}

fn has_scheme(url: &str, schemes: &[&str]) -> bool {
    url.split_once("://").is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty())
}

/// Returns whether the URL contains the name of a database. Without one, the program would use no database,
/// or the wrong one.
fn names_database(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let (location, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let path = location.rsplit_once('@').map_or(location, |(_, server)| server).split_once('/');
    scheme == "sqlite"
        || path.is_some_and(|(_, name)| !name.is_empty())
        || (scheme.starts_with("postgres") && parameters.split('&').any(|one| one.starts_with("dbname=")))
}

fn is_timezone(name: &str) -> bool {
    if let Some(offset) = name.strip_prefix(['+', '-']) {
        let Some((hours, minutes)) = offset.split_once(':') else { return false };
        let digits = |text: &str, max: u8| {
            text.len() == 2
                && text.bytes().all(|b| b.is_ascii_digit())
                && text.parse::<u8>().is_ok_and(|n| n <= max)
        };
        return digits(hours, 14) && digits(minutes, 59);
    }
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'+' | b'-'))
}

fn is_address(listen: &str) -> bool {
    if listen.parse::<std::net::SocketAddr>().is_ok() {
        return true;
    }
    let host_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    listen.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && host.chars().all(host_char) && port.parse::<u16>().is_ok()
    })
}

/// Checks a filter for `tracing-subscriber`. Its parser takes any bare word for the name of a module, so that
/// a misspelt level would silence everything; therefore a bare word must be a level here.
fn log_level(level: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let directives = level.split(',').map(str::trim);
    for directive in directives {
        let bare = !directive.contains(['=', '[']);
        if bare && !LEVELS.contains(&directive.to_ascii_lowercase().as_str()) {
            return Err(format!(
                "{directive:?} is not a level; write error, warn, info, debug or trace, or module=level"
            ));
        }
    }
    tracing_subscriber::EnvFilter::builder().parse(level).map(drop).map_err(|error| error.to_string())
}
