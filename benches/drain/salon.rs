//! The gateway's database for one measurement, which is created, filled, checked afterwards, and removed.

use std::collections::HashMap;
use std::path::Path;

use hostmatch::store::DbId;
use sea_orm::{ConnectionTrait as _, Statement};

use crate::Result;
use crate::bookings::{self, Booking, COMPANIES, Kind, STAFF};
use crate::database::{Engine, Scratch};

/// A database with twenty companies and this many appointments.
pub(crate) struct Salon {
    pub(crate) scratch: Scratch,
    pub(crate) appointments: u64,
}

impl Salon {
    /// Creates and fills the database; `directory` is for the SQLite file.
    ///
    /// # Errors
    /// Fails if the server cannot be used.
    pub(crate) async fn open(engine: Engine, directory: &Path, appointments: u64) -> Result<Self> {
        let salon = Self { scratch: Scratch::open(engine, directory).await?, appointments };
        salon.fill().await?;
        Ok(salon)
    }

    async fn fill(&self) -> Result<()> {
        let companies = (1..=COMPANIES).map(|id| format!("({id}, 'Salon {id}')"));
        self.scratch.insert("companies (id, name)", companies).await?;
        let staff = (1..=COMPANIES).flat_map(|company| (1..=STAFF).map(move |member| (company, member)));
        let staff = staff.map(|(company, member)| staff_row(company, member));
        self.scratch.insert("staff (id, company_id, first_name, last_name, email)", staff).await?;
        let appointments = (0..self.appointments).map(Booking::nth);
        let appointments =
            appointments.map(|one| format!("({}, {}, '{}')", one.appointment, one.company, one.uid()));
        self.scratch.insert("appointments (id, company_id, calcom_v2_booking_id)", appointments).await?;
        self.analyze().await
    }

    /// Updates the planner's statistics, as on a gateway that has been running for a while.
    ///
    /// # Errors
    /// Fails if the database cannot be used.
    pub(crate) async fn analyze(&self) -> Result<()> {
        let mysql = "ANALYZE TABLE appointments, staff, hostmatch_assignments, calcom_host_mappings";
        match self.scratch.database.backend() {
            sea_orm::DbBackend::MySql => self.scratch.run(mysql).await,
            _ => self.scratch.run("ANALYZE").await,
        }
    }

    /// Returns the number of events whose outcome is committed.
    ///
    /// # Errors
    /// See [`Scratch::number`].
    pub(crate) async fn count_decided(&self) -> Result<u64> {
        self.scratch.number("SELECT COUNT(*) FROM hostmatch_events").await
    }

    /// Checks that the first `events` appointments have the expected staff, and the others have none.
    ///
    /// # Errors
    /// Fails with the first difference.
    pub(crate) async fn check_appointments(&self, events: u64) -> Result<()> {
        let query = "SELECT id, staff_id FROM appointments";
        let statement = Statement::from_string(self.scratch.database.backend(), query);
        let mut found: HashMap<u64, Option<u64>> = HashMap::new();
        for row in self.scratch.database.connection().query_all_raw(statement).await? {
            let staff = row.try_get_by_index::<Option<DbId>>(1)?.map(|id| u64::try_from(id.0)).transpose()?;
            found.insert(u64::try_from(row.try_get_by_index::<DbId>(0)?.0)?, staff);
        }
        for n in 0..self.appointments {
            let booking = Booking::nth(n);
            let expected = expected_staff(&booking).filter(|_| n < events);
            let staff = found.get(&booking.appointment).copied().flatten();
            if staff != expected {
                return Err(format!("{booking:?} is assigned to {staff:?} instead of {expected:?}").into());
            }
        }
        Ok(())
    }

    /// Checks that our own tables have the rows that these events must leave, and `outcomes` outcomes.
    ///
    /// # Errors
    /// Fails with the first difference.
    pub(crate) async fn check_rows(&self, events: u64, outcomes: u64) -> Result<()> {
        let all: Vec<Booking> = (0..events).map(Booking::nth).collect();
        let count = |wanted: &dyn Fn(&Booking) -> bool| all.iter().filter(|one| wanted(one)).count() as u64;
        let hosts: std::collections::HashSet<u64> =
            all.iter().filter(|one| one.kind == Kind::Email).map(Booking::host).collect();
        let hosts = hosts.len() as u64;
        let with_host = count(&|one| matches!(one.kind, Kind::Email | Kind::Name | Kind::Nobody));
        for (query, expected) in [
            ("SELECT COUNT(*) FROM hostmatch_events", outcomes),
            ("SELECT COUNT(*) FROM hostmatch_assignments WHERE host_id IS NOT NULL", with_host),
            ("SELECT COUNT(*) FROM calcom_host_mappings", hosts),
            ("SELECT COUNT(*) FROM calcom_host_mapping_audits", hosts),
        ] {
            let found = self.scratch.number(query).await?;
            if found != expected {
                return Err(format!("{query}: {found} instead of {expected}").into());
            }
        }
        Ok(())
    }
}

/// Returns the key of the member of staff that a worker must assign; `None` if a person has to decide.
fn expected_staff(booking: &Booking) -> Option<u64> {
    (booking.kind == Kind::Email).then(|| staff_id(booking.company, booking.member))
}

/// Returns a company's member of staff as a row: id, company, first and last name, address.
pub(crate) fn staff_row(company: u64, member: u64) -> String {
    let ((first, last), email) = (bookings::names(member), bookings::email(company, member));
    format!("({}, {company}, '{first}', '{last}', '{email}')", staff_id(company, member))
}

/// Returns the key of a company's member of staff.
pub(crate) fn staff_id(company: u64, member: u64) -> u64 {
    company * 100_000 + member
}
