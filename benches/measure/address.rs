//! Where the servers are: as for the tests.

/// An address from the environment, else the usual one.
pub(crate) fn server(variable: &str, usual: &str) -> String {
    std::env::var(variable).ok().filter(|url| !url.is_empty()).unwrap_or_else(|| usual.to_owned())
}
