//! The data to change: companies with their staff and appointments; and random choices.

use std::collections::BTreeMap;

use hostmatch::store::DbId;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr, Statement};

/// All companies, as read at the start.
pub(crate) struct GatewayData {
    pub(crate) companies: Vec<Company>,
    /// "Now" in the database's SQL.
    pub(crate) now: &'static str,
}

/// A company with appointments.
#[derive(Default)]
pub(crate) struct Company {
    pub(crate) id: i64,
    /// Staff with an e-mail address: hostmatch may map hosts to them.
    pub(crate) hosts: Vec<String>,
    /// Staff without an e-mail address: only the gateway itself assigns appointments to them.
    pub(crate) without_email: Vec<String>,
    pub(crate) appointments: Vec<i64>,
}

impl GatewayData {
    pub(crate) async fn read(db: &DatabaseConnection) -> Result<Self, DbErr> {
        let backend = db.get_database_backend();
        let (text, now) = match backend {
            DbBackend::MySql => ("CHAR", "NOW()"),
            _ => ("TEXT", "LOCALTIMESTAMP(0)"),
        };
        let mut companies: BTreeMap<i64, Company> = BTreeMap::new();
        let staff = format!(
            "SELECT company_id, CAST(id AS {text}) AS id, CAST(email IS NULL AS {text}) AS without_email FROM staff ORDER BY id"
        );
        for row in db.query_all_raw(Statement::from_string(backend, staff)).await? {
            let id = row.try_get::<DbId>("", "company_id")?.0;
            let company = companies.entry(id).or_insert_with(|| Company { id, ..Company::default() });
            let without_email = ["1", "true"].contains(&row.try_get::<String>("", "without_email")?.as_str());
            if without_email { &mut company.without_email } else { &mut company.hosts }
                .push(row.try_get("", "id")?);
        }
        let appointments = "SELECT id, company_id FROM appointments ORDER BY id";
        for row in db.query_all_raw(Statement::from_string(backend, appointments)).await? {
            if let Some(company) = companies.get_mut(&row.try_get::<DbId>("", "company_id")?.0) {
                company.appointments.push(row.try_get::<DbId>("", "id")?.0);
            }
        }
        let mut companies: Vec<Company> = companies.into_values().collect();
        companies
            .retain(|one| ![one.hosts.len(), one.without_email.len(), one.appointments.len()].contains(&0));
        Ok(Self { companies, now })
    }
}

/// Random numbers that are the same in every run (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns one of these elements; there must be at least one.
    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let number = usize::try_from((z ^ (z >> 31)) >> 33).unwrap_or_default();
        &all[number % all.len()]
    }
}
