//! The one column that the gateway's own table gets: which Cal.com host a booking is with.

use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect::Dialect;
use crate::step::Step;

pub(super) const STEP: Step = Step {
    name: "m0003_appointments_calcom_host_id",
    makes: ("appointments", Some("calcom_host_id")),
    up,
    down,
};

fn up(d: &Dialect) -> Vec<String> {
    if d.backend == DbBackend::MySql {
        return vec![
            "ALTER TABLE appointments ADD COLUMN calcom_host_id INT NULL AFTER calcom_v2_booking_id, \
             ADD INDEX idx_calcom_host (calcom_host_id)"
                .into(),
        ];
    }
    vec![
        "ALTER TABLE appointments ADD COLUMN calcom_host_id INT NULL".into(),
        "CREATE INDEX appointments_idx_calcom_host ON appointments (calcom_host_id)".into(),
    ]
}

fn down(d: &Dialect) -> Vec<String> {
    let column = "ALTER TABLE appointments DROP COLUMN calcom_host_id".to_owned();
    match d.backend {
        // An index goes with its last column.
        DbBackend::MySql | DbBackend::Postgres => vec![column],
        _ => vec!["DROP INDEX appointments_idx_calcom_host".into(), column],
    }
}
