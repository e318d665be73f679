//! Finds the host, the file and other parts of the URLs in the configuration.

use std::path::PathBuf;

/// Returns the host of a URL, without port and brackets; empty if it has none (a socket, a file).
pub(super) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    // A password may contain anything: the host follows the last @.
    let location = rest.rsplit_once('@').map_or(rest, |(_, location)| location);
    let authority = location.split(['/', '?', '#']).next().unwrap_or_default();
    if let Some((host, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

/// Returns whether this host is the local machine.
pub(super) fn is_local(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host.is_empty() || host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Returns a parameter of a URL; ignores case, hyphens and underscores in its name.
pub(super) fn parameter(url: &str, name: &str) -> Option<String> {
    let normalised = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
    let (_, parameters) = url.split_once('?')?;
    let pairs = parameters.split('&').filter_map(|pair| pair.split_once('='));
    let mut found =
        pairs.filter(|(key, _)| normalised(key) == normalised(name)).map(|(_, value)| value.to_owned());
    found.next()
}

/// Returns the file of an `sqlite://` URL.
pub(super) fn file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?.trim_start_matches("//");
    let path = path.split('?').next().unwrap_or_default();
    let path = percent_encoding::percent_decode_str(path).decode_utf8().ok()?;
    // Two slashes belong to the URL, and a third one to the path.
    let absolute = url.strip_prefix("sqlite:///").is_some();
    Some(PathBuf::from(if absolute {
        format!("/{}", path.trim_start_matches('/'))
    } else {
        path.into_owned()
    }))
}

/// Returns whether this URL contains a password.
pub(super) fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    rest.rsplit_once('@')
        .is_some_and(|(user, _)| user.split_once(':').is_some_and(|(_, password)| !password.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed() {
        for (url, expected) in [
            ("amqp://u:p@broker.example:5672/v", "broker.example"),
            ("amqps://broker.example", "broker.example"),
            ("mysql://u:p@ss/w@db.example/gateway?ssl-mode=x", "db.example"),
            ("postgres://u@[::1]:5432/g", "::1"),
            ("postgres:///g?host=/run/postgresql", ""),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
        assert!(is_local("127.0.0.1") && is_local("::1") && is_local("localhost") && is_local(""));
        assert!(!is_local("10.0.0.7") && !is_local("db.example"));
        assert_eq!(parameter("mysql://h/d?a=1&ssl_mode=VERIFY_CA", "ssl-mode").unwrap(), "VERIFY_CA");
        assert_eq!(file("sqlite://hostmatch.db?mode=rwc").unwrap(), PathBuf::from("hostmatch.db"));
        assert_eq!(file("sqlite:///var/lib/h.db").unwrap(), PathBuf::from("/var/lib/h.db"));
        assert!(has_password("amqp://u:p@h") && !has_password("amqp://u@h") && !has_password("amqp://h"));
    }
}
