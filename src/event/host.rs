//! The host of a booking: the Cal.com user, and where in the event it was found.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::ids::HostId;

/// A Cal.com user that a booking is with. Absent values (null, `""`, and Cal.com's literals
/// `unknown`, `Nameless`, `Email-less`) are `None`; strings are trimmed and without NUL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The user's id, if it is usable. A host without an id gets neither a mapping nor an inbox row.
    pub id: Option<HostId>,
    /// The user's name.
    pub name: Option<String>,
    /// The e-mail address as sent. Webhooks and API may show different ones.
    pub email: Option<String>,
    /// The address of a platform-managed user without its client tag.
    pub display_email: Option<String>,
    /// The user's handle.
    pub username: Option<String>,
    /// The IANA zone of the user's profile; stored but never used in calculations.
    pub time_zone: Option<String>,
}

impl Host {
    /// Returns whether the host is usable: it has a numeric id or a real e-mail address.
    pub fn is_usable(&self) -> bool {
        self.id.is_some() || self.email.is_some() || self.display_email.is_some()
    }

    /// Returns the addresses to match by: `email`, then `displayEmail`, normalised, without duplicates.
    pub fn emails(&self) -> Vec<String> {
        let mut all: Vec<String> =
            [&self.email, &self.display_email].into_iter().flatten().map(|e| normal_email(e)).collect();
        all.dedup();
        all
    }
}

/// Normalises an e-mail address for comparison: trims it, converts it to ASCII lower case, and removes Cal.com's
/// own tag. Accents are not folded, and no other `+tag` is removed.
pub fn normal_email(email: &str) -> String {
    let email = email.trim().to_ascii_lowercase();
    match email.rsplit_once('@').and_then(|(local, domain)| Some((local.split_once('+')?, domain))) {
        Some(((name, tag), domain)) if !name.is_empty() && is_calcom_tag(tag) => format!("{name}@{domain}"),
        _ => email,
    }
}

/// Returns whether this is the tag in the address of a platform-managed user: the 25 letters and digits of the
/// platform's client id. Webhooks send the address with it, and without `displayEmail`.
fn is_calcom_tag(tag: &str) -> bool {
    tag.len() == 25 && tag.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The field of the event in which the primary host was found, in the order in which the fields are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum HostSource {
    /// `hosts[0]` of the booking (API version 2024-08-13, unwrapped).
    Hosts,
    /// `data.hosts[0]`: the API's envelope was published unchanged.
    DataHosts,
    /// `organizer`: Cal.com's own webhooks, which have no `hosts`.
    Organizer,
    /// `user`: API version 2024-04-15 and flat webhooks.
    User,
}

/// The reason why a booking has no host, or no host with an id. Without an id a host gets no mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum HostMissing {
    /// None of the fields that may hold a host exists.
    Absent,
    /// The list of hosts is empty.
    Empty,
    /// There is a host, but it has no id.
    NullId,
    /// The value cannot be a host, or its id is not an id.
    Malformed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tag_of_calcoms_platform_is_removed() {
        let tag = "cm1x2y3z4a5b6c7d8e9f0g1h2";
        let with = |tag: &str| format!(" Lea+{tag}@Salon.example ");
        assert_eq!(normal_email(&with(tag)), "lea@salon.example");
        assert_eq!(normal_email(&with(&tag.to_uppercase())), "lea@salon.example");
        for other in ["hair", &tag[1..], &format!("{tag}9"), &format!("x+{tag}"), &tag.replace('m', "-")] {
            assert_eq!(normal_email(&with(other)), format!("lea+{other}@salon.example"), "{other}");
        }
        assert_eq!(normal_email(&format!("+{tag}@salon.example")), format!("+{tag}@salon.example"));
        let tagged = Host { email: Some(with(tag)), ..Host::default() };
        assert_eq!(tagged.emails(), ["lea@salon.example"]);
        let both = Host { display_email: Some("lea@salon.example".to_owned()), ..tagged };
        assert_eq!(both.emails(), ["lea@salon.example"]);
    }
}
