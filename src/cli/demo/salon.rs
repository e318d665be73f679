//! The salon: two companies, their staff and their appointments, as a gateway would have them.
//! All people are invented.

use sea_orm::ConnectionTrait as _;

use crate::cli::failure::Failure;
use crate::config::Config;
use crate::store::{Database, StoreError};

/// The company whose bookings the demo is about.
pub(super) const SALON: i64 = 1;
/// Its neighbour on the same gateway, of whom the salon must never see anything.
pub(super) const BARBER: i64 = 2;

/// Company, first name, last name, and work address of everybody; the place is the id, from 1 on.
const STAFF: [(i64, &str, &str, &str); 6] = [
    (SALON, "Clara", "Sommer", CLARA),
    (SALON, "Jonas", "Weber", JONAS),
    // Two of one name: a name alone cannot tell them apart.
    (SALON, "Anna", "Koch", "anna.koch@salon.example"),
    (SALON, "Anna", "Koch", "a.koch@salon.example"),
    (SALON, "Mira", "Aydin", MIRA),
    (BARBER, "Tom", "Berger", TOM),
];

pub(super) const CLARA: &str = "clara.sommer@salon.example";
pub(super) const JONAS: &str = "jonas.weber@salon.example";
pub(super) const MIRA: &str = "mira.aydin@salon.example";
pub(super) const TOM: &str = "tom@barber.example";

/// Appointments that are there from the start: company and booking.
const APPOINTMENTS: [(i64, &str); 8] = [
    (SALON, "ABC123"),
    (SALON, "ABC124"),
    (SALON, "ABC125"),
    (SALON, "ABC126"),
    (SALON, "ABC127"),
    (SALON, "ABC128"),
    (BARBER, "ABC131"),
    // Left for the reader.
    (SALON, "ABC132"),
];

/// Makes the gateway's tables, ours, and the rows above.
///
/// # Errors
/// When the database file cannot be used.
pub(super) async fn open(config: &Config) -> Result<Database, Failure> {
    let database = Database::connect(&config.database).await?;
    migration::baseline(database.connection()).await?;
    migration::up(database.connection()).await?;
    let mut sql = format!(
        "INSERT INTO companies (id, name) VALUES ({SALON}, 'Salon Rosengarten'), ({BARBER}, 'Barber Kante');"
    );
    for (company, first, last, email) in STAFF {
        sql += &format!(
            "INSERT INTO staff (company_id, first_name, last_name, email) \
             VALUES ({company}, '{first}', '{last}', '{email}');"
        );
    }
    sql.extend(APPOINTMENTS.iter().map(|(company, booking)| insertion(*company, booking)));
    database.connection().execute_unprepared(&sql).await.map_err(StoreError::from)?;
    Ok(database)
}

/// Makes one more appointment of the salon, as the gateway does when its transaction commits late.
///
/// # Errors
/// When the database refuses.
pub(super) async fn add_appointment(database: &Database, booking: &str) -> Result<(), Failure> {
    let sql = insertion(SALON, booking);
    database.connection().execute_unprepared(&sql).await.map_err(StoreError::from)?;
    Ok(())
}

fn insertion(company: i64, booking: &str) -> String {
    format!(
        "INSERT INTO appointments (company_id, calcom_v2_booking_id, starts_at) \
         VALUES ({company}, '{booking}', datetime('now', '+3 days', 'start of day', '+9 hours'));"
    )
}
