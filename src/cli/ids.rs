//! Arguments that several commands have: companies, hosts, members of staff, pages.

use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::HostKey;

/// A host of a company
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct OneHost {
    /// The company
    #[arg(long, value_name = "N", value_parser = company)]
    pub(super) company: CompanyId,
    /// The id of the Cal.com user
    #[arg(long, value_name = "ID", value_parser = host)]
    pub(super) host: HostId,
}

impl OneHost {
    /// Both.
    pub(super) fn key(self) -> HostKey {
        HostKey::new(self.company, self.host)
    }
}

/// Whose
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct OnlyOf {
    /// Only if it is this company's
    #[arg(long, value_name = "N", value_parser = company)]
    pub(super) company: Option<CompanyId>,
}

/// Of which company
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct OfCompany {
    /// Of this company
    #[arg(long, value_name = "N", value_parser = company)]
    pub(super) company: Option<CompanyId>,
}

/// How much of a list
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct PageArgs {
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(super) limit: u64,
    /// Only older ones than this: the last id of the page before
    #[arg(long, value_name = "ID")]
    pub(super) before: Option<i64>,
}

/// An id of a company.
pub(super) fn company(text: &str) -> Result<CompanyId, String> {
    let id = text.parse().ok().filter(|id| *id > 0);
    id.map(CompanyId).ok_or_else(|| "write the number of a company".to_owned())
}

/// An id of a Cal.com user.
pub(super) fn host(text: &str) -> Result<HostId, String> {
    let id = text.parse().ok().and_then(HostId::new);
    id.ok_or_else(|| "write the number of a Cal.com user, from 1 to 2147483647".to_owned())
}

/// An id of a member of staff: a number or a text, as the gateway has it.
pub(super) fn staff(text: &str) -> Result<StaffId, String> {
    let text = text.trim();
    if text.is_empty() || text.len() > 255 || text.contains(char::is_control) {
        return Err("write the id of a member of staff".to_owned());
    }
    let number = text.parse::<i64>().ok().filter(|id| id.to_string() == text);
    Ok(number.map_or_else(|| StaffId::Text(text.to_owned()), StaffId::Integer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read() {
        assert_eq!(staff(" 31 "), Ok(StaffId::Integer(31)));
        assert_eq!(staff("031"), Ok(StaffId::Text("031".into())));
        assert!(staff("").is_err() && staff("a\nb").is_err());
        assert_eq!(host("7"), Ok(HostId(7)));
        assert!(host("0").is_err() && host("4294967296").is_err() && company("-1").is_err());
    }
}
