//! The salon of a soak: one company, its staff and its appointments; and counting what became of
//! its events.

use hostmatch::event::{AppointmentId, CompanyId, StaffId};
use hostmatch::store::Database;
use hostmatch::store::entity::{OpaqueId, appointment, company, event, staff};
use sea_orm::{ColumnTrait as _, EntityTrait, PaginatorTrait as _, QueryFilter as _, Set};

use super::Result;

/// The name of the company: how a soak knows a database of its own.
const NAME: &str = "hostmatch soak";

/// Staff; each has the host of the same number.
pub(super) const STAFF: u64 = 20;
/// Appointments; the events are about these, again and again.
pub(super) const APPOINTMENTS: u64 = 500;

/// The reference of an appointment.
pub(super) fn reference(n: u64) -> String {
    format!("soak-{n}")
}

/// The address of a member of staff.
pub(super) fn address(n: u64) -> String {
    format!("staff{n}@soak.example")
}

/// Makes the tables and the salon, unless an earlier soak has made them.
///
/// # Errors
/// When the database is somebody's: it holds a company that no soak has made.
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
        let text = "the configured database holds companies: a soak fills its database with invented bookings, \
                    so give it one of its own";
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

/// How many events of this run have an outcome.
pub(super) async fn decided(database: &Database, run: &str) -> Result<u64> {
    let events = event::Entity::find().filter(event::Column::EventId.starts_with(format!("{run}-")));
    Ok(database.with_deadline(async { Ok(events.count(database.connection()).await?) }).await?)
}
