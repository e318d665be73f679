//! Parses `queue.url`.

use lapin::uri::AMQPUri;

use crate::queue::QueueError;

/// Seconds between heartbeats, unless the URL sets another value. With the broker's own default (60 s)
/// a dead connection would go unnoticed for two minutes.
const HEARTBEAT: u16 = 10;
/// The maximum heartbeat that the URL may set, in seconds.
const MAX_HEARTBEAT: u16 = 600;

/// Parses an AMQP URL. Differs from lapin in two cases. For an IPv6 address lapin would connect to localhost.
/// For the path `/` lapin would use a virtual host with an empty name; here `/` means the default virtual
/// host.
pub(super) fn parse(url: &str) -> Result<AMQPUri, QueueError> {
    // The parser's error may quote a part of the URL, and with it the password.
    let mut address: AMQPUri = url.parse().map_err(|_| {
        QueueError::Config(
            "queue.url is not a valid AMQP URL; write amqp://user:password@host:5672/vhost, with special \
            characters in user, password and vhost percent-encoded"
                .to_owned(),
        )
    })?;
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Some((host, _)) = host_and_port.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        address.authority.host = host.to_owned();
    }
    if address.vhost.is_empty() {
        address.vhost = "/".to_owned();
    }
    // Without heartbeats a blocked connection that goes silent is never noticed and never replaced.
    if !(1..=MAX_HEARTBEAT).contains(address.query.heartbeat.get_or_insert(HEARTBEAT)) {
        let problem = format!(
            "the heartbeat in queue.url must be 1 to {MAX_HEARTBEAT} seconds; omit it to use {HEARTBEAT} seconds"
        );
        return Err(QueueError::Config(problem));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_host_virtual_host_and_heartbeat_are_parsed() {
        let address = parse("amqp://u:p%40ss@broker.example:5673/salon").unwrap();
        assert_eq!((address.authority.host.as_str(), address.authority.port), ("broker.example", 5673));
        assert_eq!((address.authority.userinfo.password.as_str(), address.vhost.as_str()), ("p@ss", "salon"));
        assert_eq!(address.query.heartbeat, Some(HEARTBEAT));
        assert_eq!(parse("amqp://[::1]:5672/").unwrap().authority.host, "::1");
        assert_eq!(parse("amqp://localhost/").unwrap().vhost, "/");
        assert_eq!(parse("amqp://localhost?heartbeat=3").unwrap().query.heartbeat, Some(3));
    }

    #[test]
    fn a_heartbeat_outside_the_limits_is_refused() {
        for wrong in ["0", "601"] {
            let error = parse(&format!("amqp://localhost?heartbeat={wrong}")).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains("heartbeat in queue.url"), "{error}");
        }
    }

    #[test]
    fn a_password_is_not_repeated_in_the_error() {
        let error = parse("amqp://user:se:cret@host:notaport/").map(|_| ()).unwrap_err();
        assert!(!error.to_string().contains("cret"), "{error}");
    }
}
