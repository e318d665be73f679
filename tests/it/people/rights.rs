//! Every statement of what people do, for the test that takes rights away one by one.

use hostmatch::event::{CompanyId, HostId, StaffId};
use hostmatch::people::{Author, Decision, Repairer, Wish, decide_now, ignore, reopen};
use hostmatch::store::{
    AuditFilter, Database, GatewaySchema, InboxFilter, MappingFilter, RepairFilter, RepairScope, StoreError,
    audits, change_of, host_acts, inbox_entries, list_mappings, repairs,
};

use super::anna;

/// What people do with this host of company 15, for which an appointment waits.
pub(crate) async fn every_statement(
    database: &Database,
    schema: &GatewaySchema,
    host: u32,
    staff: [StaffId; 2],
) -> Result<(), StoreError> {
    let key = (CompanyId(15), HostId(host.into()));
    let author = Author::new("cli:anna@office").unwrap();
    let lost = |error: &dyn std::fmt::Display| StoreError::Rejected(error.to_string());
    ignore(database, schema, key, &author, ("test", None)).await.map_err(|error| lost(&error))?;
    reopen(database, schema, key, &author, None).await.map_err(|error| lost(&error))?;
    inbox_entries(database.connection(), &InboxFilter::default(), 1, 0, 1).await?;
    host_acts(database.connection(), key).await?;
    let mut last = 0;
    for one in staff {
        let decision = Decision::new(key.0, key.1, Wish::Set(one));
        let decided = decide_now(database, schema, &anna(), &[decision]).await?.remove(0);
        last = decided.map_err(|error| lost(&error))?.audits[0];
    }
    let change = change_of(database.connection(), schema, last, None).await?.unwrap();
    let revert = Decision::new(key.0, key.1, Wish::Revert(change));
    decide_now(database, schema, &anna(), &[revert]).await?.remove(0).map_err(|error| lost(&error))?;
    let repairer = Repairer::new(database, schema);
    let begun = repairer.begin(key, RepairScope::All, &author, None).await.map_err(|error| lost(&error))?;
    let repair = begun.ok_or_else(|| lost(&"nothing waits"))?;
    repairer.apply(repair, |_| {}).await.map_err(|error| lost(&error))?;
    repairer.undo(repair, &author, None, |_| {}).await.map_err(|error| lost(&error))?;
    repairs(database.connection(), &RepairFilter::default(), 1).await?;
    list_mappings(database.connection(), schema, &MappingFilter::default(), 1).await?;
    audits(database.connection(), schema, &AuditFilter::default(), 1).await?;
    Ok(())
}
