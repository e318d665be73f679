//! Runs every statement behind people's decisions, for the test that revokes privileges one by one.

use hostmatch::app::{BookingFilter, Command, Decision, bookings, decide_now, inbox, repair};
use hostmatch::event::{AppointmentId, CompanyId, HostId, StaffId};
use hostmatch::matching::HostKey;
use hostmatch::store::{
    AuditFilter, Database, GatewaySchema, InboxFilter, MappingFilter, RepairFilter, RepairScope, Scope,
    StoreError, audits, begin_import, change_of, entity, hand_over, host_actions, imports, inbox_hosts,
    insert_hand_over, list_mappings, record_hand_over_undone, record_import, record_import_undone, repairs,
};
use sea_orm::Set;
use sea_orm::prelude::TextUuid;
use uuid::Uuid;

use super::{anna, context_on};

/// Runs the use cases for this host of company 15, for which an appointment waits.
pub(crate) async fn run_every_statement(
    database: &Database,
    schema: &GatewaySchema,
    host: u32,
    both: [StaffId; 2],
) -> Result<(), StoreError> {
    let key = HostKey::new(CompanyId(15), HostId(host.into()));
    let context = context_on(database, schema);
    let rejected = |error: &dyn std::fmt::Display| StoreError::Rejected(error.to_string());
    inbox::ignore(&context, key, "test", None).await.map_err(|error| rejected(&error))?;
    inbox::reopen(&context, key, None).await.map_err(|error| rejected(&error))?;
    inbox_hosts(database.connection(), &Scope::All, &InboxFilter::default(), (0, 1)).await?;
    host_actions(database.connection(), key).await?;
    let [from, to] = both.clone();
    let mut last = 0;
    for staff in both {
        let decision = Decision::new(key.company, key.host, Command::Set(staff));
        let decided = decide_now(database, schema, &anna(), &[decision]).await?.remove(0);
        last = decided.map_err(|error| rejected(&error))?.audits[0];
    }
    let change = change_of(database.connection(), schema, &Scope::All, last).await?.unwrap();
    let revert = Decision::new(key.company, key.host, Command::Revert(change));
    decide_now(database, schema, &anna(), &[revert]).await?.remove(0).map_err(|error| rejected(&error))?;
    let begun =
        repair::begin(&context, key, RepairScope::All, None).await.map_err(|error| rejected(&error))?;
    let repair = begun.ok_or_else(|| rejected(&"nothing waits"))?;
    repair::apply(&context, repair, |_| {}).await.map_err(|error| rejected(&error))?;
    repair::undo(&context, repair, None, |_| {}).await.map_err(|error| rejected(&error))?;
    repairs(database.connection(), &Scope::All, &RepairFilter::default(), 1).await?;
    // The appointment that waited for the host.
    let appointment = AppointmentId(10 * (i64::from(host) - 5000) + 2);
    bookings::list(&context, &BookingFilter::default(), 1).await.map_err(|error| rejected(&error))?;
    let preview = bookings::preview_assign(&context, &[appointment].into(), &to).await;
    let view = preview.map_err(|error| rejected(&error))?;
    let assigned = bookings::assign(&context, view, None).await.map_err(|error| rejected(&error))?;
    bookings::show(&context, Ok(appointment)).await.map_err(|error| rejected(&error))?;
    let assignment = assigned.assignment.ok_or_else(|| rejected(&"nothing to assign"))?;
    bookings::undo(&context, assignment, None).await.map_err(|error| rejected(&error))?;
    list_mappings(database.connection(), schema, &Scope::All, &MappingFilter::default(), 1).await?;
    audits(database.connection(), schema, &Scope::All, &AuditFilter::default(), 1).await?;
    imports_and_hand_overs(database, schema, [from, to]).await
}

/// Runs the statements that record an import of mappings and a hand-over.
async fn imports_and_hand_overs(
    database: &Database,
    schema: &GatewaySchema,
    [from, to]: [StaffId; 2],
) -> Result<(), StoreError> {
    let (company, by, why) = (CompanyId(15), "cli:anna@office", Some("test"));
    let tx = database.begin().await?;
    let new = entity::import::ActiveModel {
        token: Set(Uuid::new_v4().to_string()),
        company_id: Set(Some(company)),
        file: Set("hosts.csv".into()),
        line_count: Set(1),
        changed: Set(0),
        failed: Set(0),
        made_by: Set(by.into()),
        at_ms: Set(1),
        ..Default::default()
    };
    let import = begin_import(&tx, new).await?;
    record_import(&tx, import, 1, 0, Some(2)).await?;
    record_import_undone(&tx, import, by, why, 3).await?;
    imports(&tx, &Scope::of(Some(company)), 1).await?;
    let row = entity::hand_over::ActiveModel {
        token: Set(TextUuid(Uuid::new_v4())),
        company_id: Set(company),
        from_staff_id: Set(from.of_kind(schema.staff_key)?),
        to_staff_id: Set(to.of_kind(schema.staff_key)?),
        from_ms: Set(1),
        appointments: Set("[]".into()),
        made_by: Set(by.into()),
        at_ms: Set(1),
        ..Default::default()
    };
    let handed_over = insert_hand_over(&tx, row).await?;
    record_hand_over_undone(&tx, handed_over, by, why, 2).await?;
    hand_over(&tx, &Scope::of(Some(company)), handed_over).await?;
    tx.commit().await?;
    Ok(())
}
