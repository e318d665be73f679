//! The salon of a soak: one company, its staff and its appointments; and counting what became of
//! its events.

use migration::names;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{ConnectionTrait as _, Statement};

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::store::{Database, DbId, StoreError};

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
pub(super) async fn open(database: &Database) -> Result<(), Failure> {
    let connection = database.connection();
    let all = Query::select().expr(Expr::cust("COUNT(*)")).from("companies").to_owned();
    if connection.query_one(&all).await.is_err() {
        migration::baseline(connection).await?;
    }
    migration::up(connection).await?;
    let ours = all.clone().and_where(Expr::col("name").eq(NAME)).to_owned();
    let (all, ours) = (count(database, &all).await?, count(database, &ours).await?);
    if all > ours {
        let text = "the configured database holds companies: a soak fills its database with invented bookings, \
                    so give it one of its own";
        return Err(Failure::new(Exit::NotAllowed, text));
    }
    if ours > 0 {
        return Ok(());
    }
    let run = async |insert: &sea_orm::sea_query::InsertStatement| {
        connection.execute(insert).await.map(drop).map_err(StoreError::from)
    };
    run(Query::insert()
        .into_table("companies")
        .columns(["id", "name"])
        .values_panic([1.into(), NAME.into()]))
    .await?;
    let mut staff = Query::insert();
    staff.into_table("staff").columns(["id", "company_id", "first_name", "last_name", "email"]);
    for n in 1..=STAFF {
        let last = format!("Nr{n}");
        staff.values_panic([n.into(), 1.into(), "Staff".into(), last.into(), address(n).into()]);
    }
    run(&staff).await?;
    let mut appointments = Query::insert();
    appointments.into_table("appointments").columns(["id", "company_id", "calcom_v2_booking_id"]);
    for n in 1..=APPOINTMENTS {
        appointments.values_panic([n.into(), 1.into(), reference(n).into()]);
    }
    run(&appointments).await?;
    Ok(())
}

/// How many events of this run have an outcome.
pub(super) async fn decided(database: &Database, run: &str) -> Result<u64, Failure> {
    let mut select = Query::select();
    select.expr(Expr::cust("COUNT(*)")).from(names::EVENTS);
    select.and_where(Expr::col("event_id").like(format!("{run}-%")));
    count(database, &select).await
}

async fn count(database: &Database, select: &sea_orm::sea_query::SelectStatement) -> Result<u64, Failure> {
    let statement: Statement = database.backend().build(select);
    let counted = async {
        let row = database.connection().query_one_raw(statement).await?;
        Ok(row.map(|row| row.try_get_by_index::<DbId>(0)).transpose()?.map_or(0, |count| count.0))
    };
    Ok(u64::try_from(database.in_time(counted).await?).unwrap_or_default())
}
