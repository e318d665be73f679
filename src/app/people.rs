//! Lists companies and members of staff, so that a person can choose one by id.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{AppContext, AppError, MappingFilter};
use crate::event::{CompanyId, HostId, StaffId};
use crate::store;

/// The maximum number of rows of a list.
const MAX_ROWS: u64 = 10_000;

/// The companies that the caller may see. `docs/commands.md` describes its JSON.
#[derive(Debug, Serialize)]
pub(crate) struct CompanyList {
    pub(crate) companies: Vec<CompanyView>,
}

/// A company.
#[derive(Debug, Serialize)]
pub(crate) struct CompanyView {
    pub(crate) company: CompanyId,
    /// Its name, if the gateway has one and hostmatch may read it.
    pub(crate) name: Option<String>,
    /// The number of its active members of staff.
    pub(crate) staff: usize,
}

/// Members of staff by company and id. `docs/commands.md` describes its JSON.
#[derive(Debug, Serialize)]
pub(crate) struct StaffList {
    pub(crate) staff: Vec<StaffView>,
}

/// A member of staff.
#[derive(Debug, Serialize)]
pub(crate) struct StaffView {
    pub(crate) company: Option<CompanyId>,
    pub(crate) staff: StaffId,
    pub(crate) name: String,
    pub(crate) email: Option<String>,
    /// `active`, `inactive` or `deleted`.
    pub(crate) state: &'static str,
    /// The hosts that are mapped to them.
    pub(crate) hosts: Vec<HostId>,
}

/// Returns the companies that the caller may see, by id.
pub(crate) async fn companies(context: &AppContext) -> Result<CompanyList, AppError> {
    let companies = store::companies(context.connection(), &context.schema, &context.scope, MAX_ROWS);
    let companies = context.with_deadline(companies).await?;
    let mut active: BTreeMap<CompanyId, usize> = BTreeMap::new();
    for one in staff(context, false).await?.staff {
        *active.entry(one.company.unwrap_or(CompanyId(0))).or_default() += 1;
    }
    let view = |(company, name): (CompanyId, Option<String>)| CompanyView {
        company,
        name,
        staff: active.get(&company).copied().unwrap_or(0),
    };
    Ok(CompanyList { companies: companies.into_iter().map(view).collect() })
}

/// Returns the members of staff of the companies that the caller may see; with `all`, also those who are inactive or
/// deleted.
pub(crate) async fn staff(context: &AppContext, all: bool) -> Result<StaffList, AppError> {
    let (db, schema, scope) = (context.connection(), &context.schema, &context.scope);
    let filter = MappingFilter { is_active: Some(true), ..MappingFilter::default() };
    let mappings = context.with_deadline(store::list_mappings(db, schema, scope, &filter, MAX_ROWS)).await?;
    let mut hosts: BTreeMap<StaffId, Vec<HostId>> = BTreeMap::new();
    for mapping in mappings {
        hosts.entry(mapping.staff.id).or_default().push(mapping.host);
    }
    let found = context.with_deadline(store::staff_of(db, schema, scope, MAX_ROWS)).await?;
    let view = |(fact, email): (store::StaffFact, Option<String>)| StaffView {
        company: fact.company,
        state: match (fact.is_deleted, fact.is_active) {
            (true, _) => "deleted",
            (false, true) => "active",
            (false, false) => "inactive",
        },
        hosts: hosts.remove(&fact.id).unwrap_or_default(),
        staff: fact.id,
        name: fact.name,
        email,
    };
    let staff = found.into_iter().map(view).filter(|one| all || one.state == "active");
    Ok(StaffList { staff: staff.collect() })
}
