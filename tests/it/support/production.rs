//! A gateway as in production, with everything that has caused problems: UUIDs in another collation than the
//! database's own, a third collation elsewhere, the maximum number of keys on a table, triggers, booking
//! ids in columns of every type, JSON that is checked and encoded twice.

use super::Backend;
use super::gateway::UpdatedAt;

/// The number of keys on `appointments`: the maximum that MySQL allows, so that the column that hostmatch adds
/// gets no key.
const KEYS: usize = 64;

/// Returns the statements that create this gateway.
pub(super) fn tables(backend: Backend, updated_at: UpdatedAt) -> Vec<String> {
    match backend {
        Backend::MariaDb => mariadb(updated_at),
        Backend::Postgres => postgres(updated_at),
        Backend::Sqlite => panic!("no such gateway exists on SQLite"),
    }
}

const UNICODE: &str = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci";
const UNICODE_520: &str = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_520_ci";
const KEY: &str = "id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY";
const TIMESTAMPS: &str = "created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL, deleted_at TIMESTAMP NULL";
const JSON: &str = "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL CHECK (json_valid(";

fn mariadb(updated_at: UpdatedAt) -> Vec<String> {
    let (moment, is_minimal) = match updated_at {
        UpdatedAt::Instant => ("updated_at TIMESTAMP NULL, deleted_at TIMESTAMP NULL,", false),
        UpdatedAt::Local => ("updated_at DATETIME NULL, deleted_at DATETIME NULL,", false),
        UpdatedAt::Missing => ("", true),
    };
    let optional = |columns: &'static str| if is_minimal { "" } else { columns };
    let fixed = [
        "UNIQUE KEY appointments_calcom_v2_booking_id_unique (calcom_v2_booking_id)",
        "KEY appointments_company_id_index (company_id)",
        "KEY appointments_staff_id_index (staff_id)",
    ];
    // Further keys, up to the maximum. The primary key counts too.
    let further =
        (fixed.len() + 1..KEYS).map(|n| format!("KEY appointments_report_{n}_index (status, price_{n})"));
    let keys = fixed.iter().map(|key| (*key).to_owned()).chain(further).collect::<Vec<_>>().join(", ");
    let prices: String = (fixed.len() + 1..KEYS).map(|n| format!("price_{n} INT NULL, ")).collect();
    vec![
        format!(
            "CREATE TABLE companies ({KEY}, name VARCHAR(255) NOT NULL, settings {JSON}settings)), {TIMESTAMPS}) {UNICODE}"
        ),
        format!("CREATE TABLE users ({KEY}, name VARCHAR(255) NOT NULL, {TIMESTAMPS}) {UNICODE_520}"),
        format!(
            "CREATE TABLE branches (id CHAR(36) NOT NULL PRIMARY KEY, company_id BIGINT UNSIGNED NOT NULL, \
             name VARCHAR(255) NOT NULL, {TIMESTAMPS}) {UNICODE}"
        ),
        format!(
            "CREATE TABLE staff (id CHAR(36) NOT NULL PRIMARY KEY, company_id BIGINT UNSIGNED NOT NULL, \
             branch_id CHAR(36) NULL, name VARCHAR(255) NOT NULL, {} \
             calcom_user_id VARCHAR(255) NULL, is_bookable TINYINT(1) NOT NULL DEFAULT 1, skills {JSON}skills)), \
             created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL, \
             CONSTRAINT staff_company_id_foreign FOREIGN KEY (company_id) REFERENCES companies (id) ON DELETE CASCADE, \
             CONSTRAINT staff_branch_id_foreign FOREIGN KEY (branch_id) REFERENCES branches (id) ON DELETE SET NULL) {UNICODE}",
            optional(
                "email VARCHAR(255) NULL, deleted_at TIMESTAMP NULL, active TINYINT(1) NOT NULL DEFAULT 1, \
                 is_active TINYINT(1) NOT NULL DEFAULT 1, UNIQUE KEY staff_company_id_email_unique (company_id, email),"
            ),
        ),
        format!(
            "CREATE TABLE appointments ({KEY}, company_id BIGINT UNSIGNED NOT NULL, branch_id CHAR(36) NULL, \
             staff_id CHAR(36) NULL, calcom_v2_booking_id VARCHAR(255) NULL, {} \
             status VARCHAR(32) NOT NULL DEFAULT 'confirmed', starts_at DATETIME NULL, \
             assignment_model_used VARCHAR(32) NULL, metadata {JSON}metadata)), {prices} \
             created_at TIMESTAMP NULL, {moment} \
             CONSTRAINT appointments_company_id_foreign FOREIGN KEY (company_id) REFERENCES companies (id) ON DELETE CASCADE, \
             CONSTRAINT appointments_staff_id_foreign FOREIGN KEY (staff_id) REFERENCES staff (id) ON DELETE SET NULL, \
             {keys}) {UNICODE}",
            optional("calcom_v2_booking_uid VARCHAR(50) NULL, calcom_booking_id BIGINT NULL,"),
        ),
        // Each phase of a composite appointment has its own booking.
        format!(
            "CREATE TABLE appointment_phases ({KEY}, appointment_id BIGINT UNSIGNED NOT NULL, staff_id CHAR(36) \
             CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NULL, calcom_booking_uid VARCHAR(255) NULL, \
             FOREIGN KEY (appointment_id) REFERENCES appointments (id) ON DELETE CASCADE, \
             FOREIGN KEY (staff_id) REFERENCES staff (id) ON DELETE SET NULL) {UNICODE_520}"
        ),
        format!(
            "CREATE TABLE appointment_log ({KEY}, appointment_id BIGINT UNSIGNED NOT NULL, old_staff VARCHAR(64) NULL, \
             new_staff VARCHAR(64) NULL, logged_at DATETIME NOT NULL) {UNICODE_520}"
        ),
        format!(
            "CREATE TABLE appointment_counters (company_id BIGINT UNSIGNED NOT NULL PRIMARY KEY, \
             changes BIGINT UNSIGNED NOT NULL DEFAULT 0) {UNICODE_520}"
        ),
        "CREATE TRIGGER companies_after_insert AFTER INSERT ON companies FOR EACH ROW \
         INSERT INTO appointment_counters (company_id) VALUES (NEW.id)"
            .into(),
        "CREATE TRIGGER appointments_before_update BEFORE UPDATE ON appointments FOR EACH ROW \
         INSERT INTO appointment_log (appointment_id, old_staff, new_staff, logged_at) \
         VALUES (OLD.id, OLD.staff_id, NEW.staff_id, NOW())"
            .into(),
        "CREATE TRIGGER appointments_after_update AFTER UPDATE ON appointments FOR EACH ROW \
         UPDATE appointment_counters SET changes = changes + 1 WHERE company_id = NEW.company_id"
            .into(),
    ]
}

fn postgres(updated_at: UpdatedAt) -> Vec<String> {
    let (moment, is_minimal) = match updated_at {
        UpdatedAt::Instant => (", updated_at timestamptz(0) NULL, deleted_at timestamptz(0) NULL", false),
        UpdatedAt::Local => (", updated_at timestamp(0) NULL, deleted_at timestamp(0) NULL", false),
        UpdatedAt::Missing => ("", true),
    };
    let optional = |columns: &'static str| if is_minimal { "" } else { columns };
    let function = |name: &str, event: &str, body: &str| {
        [
            format!(
                "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$"
            ),
            format!("CREATE TRIGGER {name} {event} FOR EACH ROW EXECUTE FUNCTION {name}()"),
        ]
    };
    let mut sql: Vec<String> = vec![
        "CREATE TABLE companies (id bigserial PRIMARY KEY, name varchar(255) NOT NULL, settings json NULL)".into(),
        "CREATE TABLE users (id bigserial PRIMARY KEY, name varchar(255) NOT NULL)".into(),
        // This key is a blank-padded string, and wider than its values.
        format!(
            "CREATE TABLE staff (id char(40) PRIMARY KEY, company_id bigint NOT NULL REFERENCES companies (id) \
             ON DELETE CASCADE, name varchar(255) NOT NULL, {} calcom_user_id varchar(255) NULL)",
            optional(
                "email varchar(255) NULL, deleted_at timestamp(0) NULL, active boolean NOT NULL DEFAULT TRUE, \
                 is_active boolean NOT NULL DEFAULT TRUE, UNIQUE (company_id, email),"
            ),
        ),
        format!(
            "CREATE TABLE appointments (id bigserial PRIMARY KEY, company_id bigint NOT NULL REFERENCES companies (id), \
             staff_id char(36) NULL REFERENCES staff (id) ON DELETE SET NULL, calcom_v2_booking_id char(60) NULL UNIQUE, \
             {} status varchar(32) NOT NULL DEFAULT 'confirmed', starts_at timestamp(0) NULL, \
             assignment_model_used varchar(32) NULL, metadata json NULL{moment})",
            optional("calcom_v2_booking_uid varchar(50) NULL, calcom_booking_id bigint NULL,"),
        ),
        "CREATE TABLE appointment_phases (id bigserial PRIMARY KEY, appointment_id bigint NOT NULL REFERENCES \
         appointments (id) ON DELETE CASCADE, staff_id char(36) NULL REFERENCES staff (id), calcom_booking_uid text NULL)"
            .into(),
        "CREATE TABLE appointment_log (id bigserial PRIMARY KEY, appointment_id bigint NOT NULL, \
         old_staff varchar(64) NULL, new_staff varchar(64) NULL, logged_at timestamp(0) NOT NULL)"
            .into(),
        "CREATE TABLE appointment_counters (company_id bigint PRIMARY KEY, changes bigint NOT NULL DEFAULT 0)".into(),
    ];
    sql.extend(function(
        "companies_after_insert",
        "AFTER INSERT ON companies",
        "INSERT INTO appointment_counters (company_id) VALUES (NEW.id)",
    ));
    sql.extend(function(
        "appointments_before_update",
        "BEFORE UPDATE ON appointments",
        "INSERT INTO appointment_log (appointment_id, old_staff, new_staff, logged_at) \
         VALUES (OLD.id, OLD.staff_id, NEW.staff_id, LOCALTIMESTAMP(0))",
    ));
    sql.extend(function(
        "appointments_after_update",
        "AFTER UPDATE ON appointments",
        "UPDATE appointment_counters SET changes = changes + 1 WHERE company_id = NEW.company_id",
    ));
    sql
}
