//! Addresses of the test servers and of their databases.
//!
//! A server's address may name a database and parameters. PostgreSQL's must name one if no database has the
//! account's name.

use reqwest::Url;

use super::Backend;

/// Returns the address of the shared RabbitMQ.
pub(crate) fn amqp_url() -> String {
    server("HOSTMATCH_TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672")
}

/// Returns the address of this engine's shared database server. `None` for SQLite, which has none.
pub(crate) fn database_server(backend: Backend) -> Option<String> {
    match backend {
        Backend::Sqlite => None,
        Backend::MariaDb => Some(server("HOSTMATCH_TEST_MYSQL_URL", "mysql://root@127.0.0.1:3306")),
        Backend::Postgres => {
            Some(server("HOSTMATCH_TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres"))
        }
    }
}

/// Returns an address from the environment, or the usual one.
fn server(variable: &str, usual: &str) -> String {
    std::env::var(variable).ok().filter(|url| !url.is_empty()).unwrap_or_else(|| usual.to_owned())
}

/// Returns the address of this database; everything else in the server's address is kept.
pub(crate) fn with_database(server: &str, name: &str) -> String {
    let mut url = Url::parse(server).unwrap();
    url.set_path(&format!("/{name}"));
    url.into()
}

/// Returns the same address for this account.
pub(crate) fn with_account(url: &str, name: &str, password: &str) -> String {
    let mut url = Url::parse(url).unwrap();
    url.set_username(name).unwrap();
    url.set_password(Some(password)).unwrap();
    url.into()
}

/// Returns the same address with one more parameter.
pub(crate) fn with_parameter(url: &str, parameter: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{parameter}")
}

/// Returns the database name.
pub(crate) fn database_of(url: &str) -> &str {
    let place = url.split('?').next().unwrap_or_default();
    place.rsplit('/').next().unwrap_or_default()
}

#[test]
fn a_database_replaces_the_one_in_the_servers_address() {
    for (server, expected) in [
        ("postgres://a:b@h:1", "postgres://a:b@h:1/x"),
        ("postgres://a:b@h:1/", "postgres://a:b@h:1/x"),
        ("postgres://a:b@h:1/postgres?sslmode=disable", "postgres://a:b@h:1/x?sslmode=disable"),
        ("mysql://root@127.0.0.1:3306?ssl-mode=DISABLED", "mysql://root@127.0.0.1:3306/x?ssl-mode=DISABLED"),
    ] {
        let url = with_database(server, "x");
        assert_eq!(url, expected);
        assert_eq!(database_of(&url), "x");
    }
    let account = with_account("postgres://a:b@h:1/x?sslmode=disable", "it's `c`", "d/e");
    assert_eq!(account, "postgres://it's%20%60c%60:d%2Fe@h:1/x?sslmode=disable");
    assert_eq!(with_parameter("mysql://h/x", "a=b"), "mysql://h/x?a=b");
    assert_eq!(with_parameter("mysql://h/x?a=b", "c=d"), "mysql://h/x?a=b&c=d");
}
