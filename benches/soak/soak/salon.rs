//! Creates the salon of a soak (one company, its staff and its appointments), and counts its decided events.

use hostmatch::event::{AppointmentId, CompanyId, StaffId};
use hostmatch::store::Database;
use hostmatch::store::entity::{OpaqueId, appointment, company, event, staff};
use sea_orm::{ColumnTrait as _, EntityTrait, PaginatorTrait as _, QueryFilter as _, Set};

use super::Result;

/// The name of the company, by which a soak recognises its own database.
const NAME: &str = "hostmatch soak";

/// The number of members of staff; each is the host with the same number.
pub(super) const STAFF: u64 = 20;
/// The number of appointments, to which the events refer repeatedly.
pub(super) const APPOINTMENTS: u64 = 500;

/// Returns the reference of an appointment.
pub(super) fn reference(n: u64) -> String {
    format!("soak-{n}")
}

/// Returns the address of a member of staff.
pub(super) fn address(n: u64) -> String {
    format!("staff{n}@soak.example")
}

/// Creates the tables and the salon, unless an earlier soak has created them.
///
/// # Errors
/// Fails if the database is in use, that is, contains a company that was not created by a soak.
pub(super) async fn open(database: &Database) -> Result<()> {
    let connection = database.connection();
    if company::Entity::find().count(connection).await.is_err() {
        migration::baseline(connection).await?;
    }
    migration::up(connection).await?;
    let ours = company::Entity::find().filter(company::Column::Name.eq(NAME));
    let ours = ours.count(connection).await?;
    let all = company::Entity::find().count(connection).await?;
    if all > ours {
        let text = "the configured database contains companies: a soak fills its database with invented \
                    bookings, so give it a separate one";
        return Err(text.into());
    }
    if ours > 0 {
        return Ok(());
    }
    let id = CompanyId(1);
    let salon = company::ActiveModel { id: Set(id), name: Set(Some(NAME.to_owned())) };
    company::Entity::insert(salon).exec_without_returning(connection).await?;
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let people = (1..=STAFF).map(|n| staff::ActiveModel {
        id: Set(StaffId::Integer(number(n))),
        company_id: Set(Some(id)),
        first_name: Set(Some("Staff".to_owned())),
        last_name: Set(Some(format!("Nr{n}"))),
        email: Set(Some(address(n))),
        ..Default::default()
    });
    staff::Entity::insert_many(people).exec_without_returning(connection).await?;
    let bookings = (1..=APPOINTMENTS).map(|n| appointment::ActiveModel {
        id: Set(AppointmentId(number(n))),
        company_id: Set(Some(id)),
        calcom_v2_booking_id: Set(Some(OpaqueId::Text(reference(n)))),
        ..Default::default()
    });
    appointment::Entity::insert_many(bookings).exec_without_returning(connection).await?;
    Ok(())
}

/// Returns the number of events of this run that have an outcome.
pub(super) async fn count_decided(database: &Database, run: &str) -> Result<u64> {
    let events = event::Entity::find().filter(event::Column::EventId.starts_with(format!("{run}-")));
    Ok(database.with_deadline(async { Ok(events.count(database.connection()).await?) }).await?)
}
