//! Renders counts for people.

use std::fmt::Display;

/// Returns `1 host` or `2 hosts`: the count, and the text for one or for several.
pub(crate) fn pluralize<N: Display + PartialEq + From<u8>>(count: N, one: &str, several: &str) -> String {
    let what = if count == N::from(1) { one } else { several };
    format!("{count} {what}")
}

#[cfg(test)]
mod tests {
    use super::pluralize;

    #[test]
    fn only_one_is_singular() {
        let hosts = |count: i64| pluralize(count, "host", "hosts");
        assert_eq!([0, 1, 2, -1].map(hosts), ["0 hosts", "1 host", "2 hosts", "-1 hosts"]);
    }
}
