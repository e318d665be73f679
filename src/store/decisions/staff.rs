//! Members of staff whom somebody names, active or not, of whatever company.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait as _, Query, SelectStatement};
use sea_orm::{ConnectionTrait, QueryResult};

use crate::event::{CompanyId, StaffId};
use crate::store::statement::pad_in_list;
use crate::store::{DbId, GatewaySchema, NameColumns, StoreError, bind_staff};

/// A member of staff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaffFact {
    /// `staff.id`, as the database writes it.
    pub id: StaffId,
    /// The company.
    pub company: Option<CompanyId>,
    /// The full name.
    pub name: String,
    /// Not switched off.
    pub is_active: bool,
    /// Deleted, softly.
    pub is_deleted: bool,
}

impl StaffFact {
    /// Active, not deleted, and in this company.
    pub fn is_valid_in(&self, company: CompanyId) -> bool {
        self.company == Some(company) && self.is_active && !self.is_deleted
    }
}

/// The members of staff with these ids, by the id that was asked for. An id that cannot be anybody's
/// here (a text where ids are numbers) is nobody's.
///
/// # Errors
/// [`StoreError`]
pub async fn staff_facts(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    ids: &BTreeSet<StaffId>,
) -> Result<BTreeMap<StaffId, StaffFact>, StoreError> {
    let asked: Vec<&StaffId> = ids.iter().collect();
    let mut facts = BTreeMap::new();
    for some in asked.chunks(256) {
        let values = some.iter().filter_map(|id| bind_staff(id, schema.staff_key).ok()).collect::<Vec<_>>();
        if values.is_empty() {
            continue;
        }
        let mut select = Query::select();
        select_staff(&mut select, schema);
        select.from_as("staff", "s").and_where(Expr::col(("s", "id")).is_in(pad_in_list(values)));
        let found: Vec<StaffFact> =
            tx.query_all(&select).await?.iter().map(read_staff).collect::<Result<_, _>>()?;
        for id in some {
            let (exact, text) = (id.to_string(), id.to_string());
            // The database may compare without case: it is asked for the very one first.
            let fact = found.iter().find(|one| one.id.to_string() == exact);
            let fact =
                fact.or_else(|| found.iter().find(|one| one.id.to_string().eq_ignore_ascii_case(&text)));
            if let Some(fact) = fact {
                facts.insert((*id).clone(), fact.clone());
            }
        }
    }
    Ok(facts)
}

/// Adds the columns of the member of staff `s` that [`read_staff`] reads.
pub(in crate::store) fn select_staff(select: &mut SelectStatement, schema: &GatewaySchema) {
    let one_if = |condition: Expr| CaseStatement::new().case(condition, 1).finally(0);
    select.expr_as(Expr::col(("s", "id")), "s_id").expr_as(Expr::col(("s", "company_id")), "s_company");
    for (number, column) in name_columns(schema).iter().enumerate() {
        select.expr_as(Expr::col(("s", *column)), if number == 0 { "s_name" } else { "s_name_2" });
    }
    if name_columns(schema).len() == 1 {
        select.expr_as(Expr::val(""), "s_name_2");
    }
    let active = schema.staff_active.map_or(Expr::val(1).eq(1), |flag| Expr::col(("s", flag)).eq(true));
    let deleted = match schema.staff_deleted_at {
        true => Expr::col(("s", "deleted_at")).is_not_null(),
        false => Expr::val(1).eq(0),
    };
    select.expr_as(one_if(active), "s_active").expr_as(one_if(deleted), "s_deleted");
}

/// The columns in which a name stands.
pub(in crate::store) fn name_columns(schema: &GatewaySchema) -> &'static [&'static str] {
    match schema.staff_name {
        NameColumns::Full => &["name"],
        NameColumns::FirstLast => &["first_name", "last_name"],
    }
}

/// What [`select_staff`] selected.
pub(in crate::store) fn read_staff(row: &QueryResult) -> Result<StaffFact, StoreError> {
    let text = |column: &str| row.try_get::<Option<String>>("", column);
    let parts = [text("s_name")?, text("s_name_2")?];
    let parts = parts.into_iter().flatten().map(|part| part.trim().to_owned());
    Ok(StaffFact {
        id: row.try_get("", "s_id")?,
        company: row.try_get("", "s_company")?,
        name: parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "),
        is_active: row.try_get::<DbId>("", "s_active")?.0 == 1,
        is_deleted: row.try_get::<DbId>("", "s_deleted")?.0 == 1,
    })
}
