//! The addresses of the servers, the same as for the tests.

/// Returns an address from the environment, or the usual one.
pub(crate) fn server(variable: &str, usual: &str) -> String {
    std::env::var(variable).ok().filter(|url| !url.is_empty()).unwrap_or_else(|| usual.to_owned())
}
