//! The gateway's database for one measurement: made, filled, looked at afterwards, removed.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use hostmatch::config::{DatabaseConfig, Secret};
use hostmatch::store::{Database, DbId};
use sea_orm::{ConnectionTrait as _, Statement};

use crate::Result;
use crate::bookings::{self, Booking, COMPANIES, Kind, STAFF};
use crate::broker::server;

/// Rows of one INSERT.
const ROWS: u64 = 1000;

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    Mariadb,
    Postgres,
    Sqlite,
}

impl Engine {
    /// Its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mariadb => "MariaDB",
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
        }
    }

    /// Where the server is, as for the tests.
    fn server(self) -> Option<String> {
        match self {
            Self::Mariadb => Some(server("HOSTMATCH_TEST_MYSQL_URL", "mysql://root@127.0.0.1:3306")),
            Self::Postgres => {
                Some(server("HOSTMATCH_TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432"))
            }
            Self::Sqlite => None,
        }
    }

    /// The server's process, where it is on this machine.
    pub(crate) fn process(self) -> Option<u32> {
        crate::usage::listening_on(crate::port(&self.server()?)?)
    }
}

/// A database with twenty companies and so many appointments.
pub(crate) struct Salon {
    pub(crate) url: String,
    pub(crate) database: Database,
    pub(crate) appointments: u64,
    server: Option<(String, String)>,
}

impl Salon {
    /// Makes and fills it. `directory`: for a file.
    ///
    /// # Errors
    /// When the server cannot be used.
    pub(crate) async fn open(engine: Engine, directory: &Path, appointments: u64) -> Result<Self> {
        let name = format!("hostmatch_bench_{}", uuid::Uuid::new_v4().simple());
        let (url, server) = match engine.server() {
            Some(server) => {
                let options =
                    if engine == Engine::Postgres { "TEMPLATE template0" } else { "CHARACTER SET utf8mb4" };
                administer(&server, &format!("CREATE DATABASE {name} {options}")).await?;
                (format!("{}/{name}", server.trim_end_matches('/')), Some((server, name)))
            }
            None => (format!("sqlite://{}", directory.join(name).display()), None),
        };
        let database = Database::connect(&config(&url)).await?;
        migration::baseline(database.connection()).await?;
        migration::up(database.connection()).await?;
        let salon = Self { url, database, appointments, server };
        salon.fill().await?;
        Ok(salon)
    }

    async fn fill(&self) -> Result<()> {
        let companies = (1..=COMPANIES).map(|id| format!("({id}, 'Salon {id}')"));
        self.insert("companies (id, name)", companies).await?;
        let staff = (1..=COMPANIES).flat_map(|company| (1..=STAFF).map(move |member| (company, member)));
        let staff = staff.map(|(company, member)| {
            let ((first, last), email) = (bookings::names(member), bookings::email(company, member));
            format!("({}, {company}, '{first}', '{last}', '{email}')", staff_id(company, member))
        });
        self.insert("staff (id, company_id, first_name, last_name, email)", staff).await?;
        let appointments = (0..self.appointments).map(Booking::nth);
        let appointments =
            appointments.map(|one| format!("({}, {}, '{}')", one.appointment, one.company, one.uid()));
        self.insert("appointments (id, company_id, calcom_v2_booking_id)", appointments).await?;
        // As on a gateway that has been running for a while: the planner knows how large things are.
        match self.database.backend() {
            sea_orm::DbBackend::MySql => self.run("ANALYZE TABLE appointments, staff").await,
            _ => self.run("ANALYZE").await,
        }
    }

    async fn insert(&self, into: &str, rows: impl Iterator<Item = String>) -> Result<()> {
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let mut statement = format!("INSERT INTO {into} VALUES ");
            for (n, row) in rows.by_ref().take(usize::try_from(ROWS)?).enumerate() {
                write!(statement, "{}{row}", if n == 0 { "" } else { ", " })?;
            }
            self.run(&statement).await?;
        }
        Ok(())
    }

    async fn run(&self, statement: &str) -> Result<()> {
        self.database.connection().execute_unprepared(statement).await?;
        Ok(())
    }

    /// A number, such as a count.
    ///
    /// # Errors
    /// When the database does not tell.
    pub(crate) async fn number(&self, query: &str) -> Result<u64> {
        let statement = Statement::from_string(self.database.backend(), query);
        let row = self.database.connection().query_one_raw(statement).await?.ok_or("no row")?;
        Ok(u64::try_from(row.try_get_by_index::<DbId>(0)?.0)?)
    }

    /// Events whose outcome is committed.
    ///
    /// # Errors
    /// As [`Salon::number`].
    pub(crate) async fn decided(&self) -> Result<u64> {
        self.number("SELECT COUNT(*) FROM booking_events").await
    }

    /// Sees that the first `events` appointments have the staff that they must have, and the others
    /// none.
    ///
    /// # Errors
    /// The first difference.
    pub(crate) async fn check_appointments(&self, events: u64) -> Result<()> {
        let query = "SELECT id, staff_id FROM appointments";
        let statement = Statement::from_string(self.database.backend(), query);
        let mut found: HashMap<u64, Option<u64>> = HashMap::new();
        for row in self.database.connection().query_all_raw(statement).await? {
            let staff = row.try_get_by_index::<Option<DbId>>(1)?.map(|id| u64::try_from(id.0)).transpose()?;
            found.insert(u64::try_from(row.try_get_by_index::<DbId>(0)?.0)?, staff);
        }
        for n in 0..self.appointments {
            let booking = Booking::nth(n);
            let expected = staff(&booking).filter(|_| n < events);
            let staff = found.get(&booking.appointment).copied().flatten();
            if staff != expected {
                return Err(format!("{booking:?} is assigned to {staff:?} instead of {expected:?}").into());
            }
        }
        Ok(())
    }

    /// Sees that our own tables have the rows that these events must leave, `outcomes` of them one
    /// for an event.
    ///
    /// # Errors
    /// The first difference.
    pub(crate) async fn check_rows(&self, events: u64, outcomes: u64) -> Result<()> {
        let all: Vec<Booking> = (0..events).map(Booking::nth).collect();
        let count = |wanted: &dyn Fn(&Booking) -> bool| all.iter().filter(|one| wanted(one)).count() as u64;
        let hosts: std::collections::HashSet<u64> =
            all.iter().filter(|one| one.kind == Kind::Email).map(Booking::host).collect();
        let hosts = hosts.len() as u64;
        let with_host = count(&|one| matches!(one.kind, Kind::Email | Kind::Name | Kind::Nobody));
        for (query, expected) in [
            ("SELECT COUNT(*) FROM booking_events", outcomes),
            ("SELECT COUNT(*) FROM appointment_assignments WHERE host_id IS NOT NULL", with_host),
            ("SELECT COUNT(*) FROM calcom_host_mappings", hosts),
            ("SELECT COUNT(*) FROM calcom_host_mapping_audits", hosts),
        ] {
            let found = self.number(query).await?;
            if found != expected {
                return Err(format!("{query}: {found} instead of {expected}").into());
            }
        }
        Ok(())
    }

    /// Removes it.
    ///
    /// # Errors
    /// When that is not possible.
    pub(crate) async fn remove(self) -> Result<()> {
        self.database.close().await;
        if let Some((server, name)) = self.server {
            administer(&server, &format!("DROP DATABASE {name}")).await?;
        }
        Ok(())
    }
}

/// The key of the member of staff that an event must assign, where the machine may decide that.
fn staff(booking: &Booking) -> Option<u64> {
    (booking.kind == Kind::Email).then(|| staff_id(booking.company, booking.member))
}

/// The key of a company's member of staff.
pub(crate) fn staff_id(company: u64, member: u64) -> u64 {
    company * 100_000 + member
}

fn config(url: &str) -> DatabaseConfig {
    DatabaseConfig {
        url: Secret::new(url),
        url_file: std::path::PathBuf::new(),
        max_connections: 8,
        acquire_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(60),
    }
}

async fn administer(server: &str, statement: &str) -> Result<()> {
    let mut options = sea_orm::ConnectOptions::new(server);
    options.max_connections(1).sqlx_logging(false);
    let connection = sea_orm::Database::connect(options).await?;
    connection.execute_unprepared(statement).await?;
    Ok(connection.close().await?)
}
