//! Our tables as the gateway's own migrations created them, with rows. The statements are run on top of
//! [`GatewayShape::Live`](super::GatewayShape).

use super::Backend;

/// The form in which the gateway's migrations created the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The tables of the live gateway: enumerations, cascading audits, nullable times, a nullable company, no
    /// actor.
    Live,
    /// The SQL of the first plan: no company column; times that MariaDB sets by itself; an enumerated type
    /// on PostgreSQL.
    Plan,
    /// Little more than adoption requires: short strings, plain integers, no keys, no indexes, and `staff_id`
    /// in a collation that allows no foreign key.
    Bare,
}

pub(crate) fn variants() -> [Variant; 3] {
    [Variant::Live, Variant::Plan, Variant::Bare]
}

/// Returns the statements for the tables and rows of [`Variant::Live`].
pub(crate) fn existing_tables(backend: Backend) -> Vec<String> {
    let mut all = tables(backend, Variant::Live);
    all.extend(rows(backend, Variant::Live));
    all
}

/// Returns the statements for the tables and for the column `appointments.calcom_host_id`.
pub(crate) fn tables(backend: Backend, variant: Variant) -> Vec<String> {
    match (backend, variant) {
        (Backend::MariaDb, Variant::Live) => strings(&MARIADB_LIVE),
        (Backend::MariaDb, Variant::Plan) => strings(&MARIADB_PLAN),
        (Backend::MariaDb, Variant::Bare) => strings(&MARIADB_BARE),
        (Backend::Postgres, Variant::Live) => strings(&POSTGRES_LIVE),
        (Backend::Postgres, Variant::Plan) => strings(&POSTGRES_PLAN),
        (Backend::Postgres, Variant::Bare) => strings(&POSTGRES_BARE),
        (Backend::Sqlite, _) => panic!("SQLite has nothing to adopt"),
    }
}

/// Returns the statements for two companies with staff, appointments, and mappings with audits.
pub(crate) fn rows(backend: Backend, variant: Variant) -> Vec<String> {
    let mut rows = strings(&GATEWAY_ROWS);
    for mapping in [
        "901, {901}, 5001, 'Jana Ruiz', 'jana@salon.example', 'auto_email', {score95} TRUE, {json}",
        "901, {903}, 5002, 'Lena Brandt', 'lena@salon.example', 'auto_email', {score95} TRUE, NULL",
        "901, {902}, 5003, 'Omar Falk', 'omar@salon.example', 'manual', {score100} FALSE, NULL",
        "NULL, {902}, 5004, 'Omar Falk', '', 'auto_name', {score75} TRUE, NULL",
        "902, {904}, 5001, 'Mara Wolf', 'mara@atelier.example', 'admin', {score100} TRUE, NULL",
    ] {
        rows.push(insert_mapping(backend, variant, mapping));
    }
    for (mapping, action) in [(1, "auto_matched"), (1, "updated"), (2, "auto_matched")] {
        rows.push(insert_audit(variant, mapping, action));
    }
    rows
}

/// Returns an INSERT as the gateway's PHP would write it: company, staff, host, name, address, source,
/// score, active, metadata.
fn insert_mapping(backend: Backend, variant: Variant, values: &str) -> String {
    let bare = variant == Variant::Bare;
    let company = values.split(", ").next().unwrap();
    let rest = values.split_once(", ").unwrap().1;
    let (columns, first) = match variant {
        Variant::Live => ("company_id, ", format!("{company}, ")),
        _ => ("", String::new()),
    };
    let (score, json, more, values_more) = if bare {
        ("", "", "", "")
    } else {
        (
            "confidence_score, ",
            ", metadata",
            ", last_synced_at, created_at, updated_at",
            ", '2026-01-05 10:00:00', '2026-01-05 10:00:00', '2026-02-01 08:30:00'",
        )
    };
    let mut rest = rest.to_owned();
    for score in ["95", "100", "75"] {
        let text = if bare { String::new() } else { format!("{score},") };
        rest = rest.replace(&format!("{{score{score}}}"), &text);
    }
    if bare {
        rest = rest.rsplit_once(", ").unwrap().0.to_owned();
    }
    // JSON within JSON: the gateway encodes the value twice.
    let double = match backend {
        Backend::MariaDb => r#"'"{\\"auto_created_at\\":\\"2026-01-05\\"}"'"#,
        _ => r#"'"{\"auto_created_at\":\"2026-01-05\"}"'"#,
    };
    for n in 901..=904 {
        rest = rest.replace(&format!("{{{n}}}"), &staff(n));
    }
    let rest = rest.replace("{json}", double);
    format!(
        "INSERT INTO calcom_host_mappings ({columns}staff_id, calcom_host_id, calcom_name, calcom_email, \
         mapping_source, {score}is_active{json}{more}) VALUES ({first}{rest}{values_more})"
    )
}

fn insert_audit(variant: Variant, mapping: u32, action: &str) -> String {
    if variant == Variant::Bare {
        return format!(
            "INSERT INTO calcom_host_mapping_audits (mapping_id, action) VALUES ({mapping}, '{action}')"
        );
    }
    format!(
        "INSERT INTO calcom_host_mapping_audits (mapping_id, action, new_values, changed_by, changed_at, reason) \
         VALUES ({mapping}, '{action}', '{{\"confidence\": 95}}', 901, '2026-01-05 10:00:00', 'it''s by e-mail')"
    )
}

/// Returns the id of a member of staff, as SQL.
pub(crate) fn staff(n: u32) -> String {
    format!("'00000000-0000-4000-8000-{n:012}'")
}

/// Returns the statements that the gateway's PHP still runs after its tables are adopted: it does not know our
/// columns. The last row remains.
pub(crate) fn gateway_continues(backend: Backend, variant: Variant) -> Vec<String> {
    let values = "902, {904}, 5101, 'Mara Wolf', 'mara@atelier.example', 'auto_email', {score95} TRUE, NULL";
    let last = "(SELECT id FROM (SELECT MAX(id) AS id FROM calcom_host_mappings) newest)";
    let audit = insert_audit(variant, 0, "created").replacen("VALUES (0", &format!("VALUES ({last}"), 1);
    vec![
        insert_mapping(backend, variant, values),
        audit.clone(),
        format!(
            "UPDATE calcom_host_mappings SET calcom_name = 'Mara W.', is_active = FALSE WHERE id = {last}"
        ),
        format!("DELETE FROM calcom_host_mappings WHERE id = {last}"),
        insert_mapping(backend, variant, &values.replace("5101", "5102")),
        audit,
    ]
}

fn strings(statements: &[&str]) -> Vec<String> {
    statements.iter().map(|statement| (*statement).to_owned()).collect()
}

const GATEWAY_ROWS: [&str; 8] = [
    "INSERT INTO companies (id, name) VALUES (901, 'Salon Neun'), (902, 'Atelier Zwei')",
    "INSERT INTO users (id, name) VALUES (901, 'Office')",
    "INSERT INTO staff (id, company_id, name, email) VALUES \
     ('00000000-0000-4000-8000-000000000901', 901, 'Jana Ruiz', 'jana@salon.example')",
    "INSERT INTO staff (id, company_id, name, email) VALUES \
     ('00000000-0000-4000-8000-000000000902', 901, 'Omar Falk', 'omar@salon.example')",
    "INSERT INTO staff (id, company_id, name, email, is_active) VALUES \
     ('00000000-0000-4000-8000-000000000903', 901, 'Lena Brandt', 'lena@salon.example', FALSE)",
    "INSERT INTO staff (id, company_id, name, email) VALUES \
     ('00000000-0000-4000-8000-000000000904', 902, 'Mara Wolf', 'mara@atelier.example')",
    "INSERT INTO appointments (id, company_id, calcom_v2_booking_id, calcom_host_id) VALUES (9001, 901, 'bk-old', 5001)",
    "INSERT INTO appointments (id, company_id, calcom_v2_booking_id) VALUES (9002, 901, 'bk-none')",
];

const MARIADB_LIVE: [&str; 4] = [
    "CREATE TABLE calcom_host_mappings (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, \
     company_id BIGINT UNSIGNED NULL, staff_id CHAR(36) COLLATE utf8mb4_unicode_ci NOT NULL, \
     calcom_host_id INT NOT NULL, calcom_name VARCHAR(255) NOT NULL, calcom_email VARCHAR(255) NOT NULL, \
     calcom_username VARCHAR(255) NULL, calcom_timezone VARCHAR(50) NULL, \
     mapping_source ENUM('auto_email', 'auto_name', 'manual', 'admin') COLLATE utf8mb4_unicode_ci NOT NULL \
     COMMENT 'who found it', confidence_score TINYINT UNSIGNED NOT NULL DEFAULT 100, \
     last_synced_at TIMESTAMP NULL, is_active TINYINT(1) NOT NULL DEFAULT 1, metadata JSON NULL, \
     notes VARCHAR(100) NULL, created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL, \
     CONSTRAINT calcom_host_mappings_company_id_foreign FOREIGN KEY (company_id) REFERENCES companies (id) ON DELETE CASCADE, \
     CONSTRAINT calcom_host_mappings_staff_id_foreign FOREIGN KEY (staff_id) REFERENCES staff (id) ON DELETE CASCADE, \
     UNIQUE KEY unique_host_staff (calcom_host_id, staff_id), KEY idx_email (calcom_email), \
     KEY idx_active (is_active, calcom_host_id)) \
     ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci COMMENT='hosts'",
    "CREATE TABLE calcom_host_mapping_audits (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, \
     mapping_id BIGINT UNSIGNED NOT NULL, \
     action ENUM('created', 'updated', 'deleted', 'auto_matched', 'manual_override') NOT NULL, \
     old_values JSON NULL, new_values JSON NULL, changed_by BIGINT UNSIGNED NULL, \
     changed_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, reason VARCHAR(200) NULL, \
     CONSTRAINT calcom_host_mapping_audits_mapping_id_foreign FOREIGN KEY (mapping_id) \
     REFERENCES calcom_host_mappings (id) ON DELETE CASCADE, \
     CONSTRAINT calcom_host_mapping_audits_changed_by_foreign FOREIGN KEY (changed_by) \
     REFERENCES users (id) ON DELETE SET NULL, KEY idx_changed_at (changed_at)) \
     ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci",
    "ALTER TABLE appointments ADD COLUMN calcom_host_id INT NULL AFTER calcom_v2_booking_id",
    "ALTER TABLE appointments ADD INDEX idx_calcom_host (calcom_host_id)",
];

const MARIADB_PLAN: [&str; 3] = [
    "CREATE TABLE calcom_host_mappings (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, \
     staff_id CHAR(36) NOT NULL, calcom_host_id INTEGER NOT NULL, calcom_name VARCHAR(255) NOT NULL, \
     calcom_email VARCHAR(255) NOT NULL, calcom_username VARCHAR(255) NULL, calcom_timezone VARCHAR(50) NULL, \
     mapping_source ENUM('auto_email', 'auto_name', 'manual', 'admin') NOT NULL, \
     confidence_score TINYINT UNSIGNED NOT NULL DEFAULT 100, last_synced_at TIMESTAMP NULL, \
     is_active BOOLEAN NOT NULL DEFAULT TRUE, metadata JSON NULL, created_at TIMESTAMP NOT NULL, \
     updated_at TIMESTAMP NOT NULL, FOREIGN KEY (staff_id) REFERENCES staff (id) ON DELETE CASCADE, \
     UNIQUE KEY unique_host_staff (calcom_host_id, staff_id), INDEX idx_staff (staff_id), \
     INDEX idx_email (calcom_email), INDEX idx_active (is_active, calcom_host_id)) \
     ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci",
    "CREATE TABLE calcom_host_mapping_audits (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, \
     mapping_id BIGINT UNSIGNED NOT NULL, \
     action ENUM('created', 'updated', 'deleted', 'auto_matched', 'manual_override') NOT NULL, \
     old_values JSON NULL, new_values JSON NULL, changed_by BIGINT UNSIGNED NULL, changed_at TIMESTAMP NOT NULL, \
     reason TEXT NULL, FOREIGN KEY (mapping_id) REFERENCES calcom_host_mappings (id) ON DELETE CASCADE, \
     FOREIGN KEY (changed_by) REFERENCES users (id) ON DELETE SET NULL, INDEX idx_mapping (mapping_id), \
     INDEX idx_changed_at (changed_at)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci",
    "ALTER TABLE appointments ADD COLUMN calcom_host_id INTEGER NULL AFTER calcom_v2_booking_id",
];

const MARIADB_BARE: [&str; 3] = [
    "CREATE TABLE calcom_host_mappings (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, \
     staff_id VARCHAR(36) COLLATE utf8mb4_general_ci NOT NULL, calcom_host_id BIGINT NOT NULL, \
     calcom_name VARCHAR(100) NOT NULL, calcom_email VARCHAR(100) NOT NULL, mapping_source VARCHAR(20) NOT NULL, \
     is_active TINYINT(1) NULL DEFAULT 1) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
    "CREATE TABLE calcom_host_mapping_audits (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, \
     mapping_id BIGINT UNSIGNED NOT NULL, action VARCHAR(20) NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
    "ALTER TABLE appointments ADD COLUMN calcom_host_id BIGINT UNSIGNED NULL",
];

const POSTGRES_LIVE: [&str; 6] = [
    "CREATE TABLE calcom_host_mappings (id BIGSERIAL PRIMARY KEY, company_id BIGINT NULL \
     CONSTRAINT calcom_host_mappings_company_id_foreign REFERENCES companies (id) ON DELETE CASCADE, \
     staff_id UUID NOT NULL CONSTRAINT calcom_host_mappings_staff_id_foreign REFERENCES staff (id) ON DELETE CASCADE, \
     calcom_host_id INTEGER NOT NULL, calcom_name VARCHAR(255) NOT NULL, calcom_email VARCHAR(255) NOT NULL, \
     calcom_username VARCHAR(255) NULL, calcom_timezone VARCHAR(50) NULL, \
     mapping_source VARCHAR(255) NOT NULL CONSTRAINT calcom_host_mappings_mapping_source_check \
     CHECK (mapping_source IN ('auto_email', 'auto_name', 'manual', 'admin')), \
     confidence_score SMALLINT NOT NULL DEFAULT 100, last_synced_at TIMESTAMP(0) NULL, \
     is_active BOOLEAN NOT NULL DEFAULT TRUE, metadata JSON NULL, notes VARCHAR(100) NULL, \
     created_at TIMESTAMP(0) NULL, updated_at TIMESTAMP(0) NULL, \
     CONSTRAINT unique_host_staff UNIQUE (calcom_host_id, staff_id))",
    "CREATE INDEX idx_staff ON calcom_host_mappings (staff_id)",
    "CREATE TABLE calcom_host_mapping_audits (id BIGSERIAL PRIMARY KEY, mapping_id BIGINT NOT NULL \
     CONSTRAINT calcom_host_mapping_audits_mapping_id_foreign REFERENCES calcom_host_mappings (id) ON DELETE CASCADE, \
     action VARCHAR(20) NOT NULL CONSTRAINT calcom_host_mapping_audits_action_check \
     CHECK (action IN ('created', 'updated', 'deleted', 'auto_matched', 'manual_override')), \
     old_values JSON NULL, new_values JSON NULL, changed_by BIGINT NULL REFERENCES users (id) ON DELETE SET NULL, \
     changed_at TIMESTAMP(0) NOT NULL DEFAULT CURRENT_TIMESTAMP, reason VARCHAR(200) NULL)",
    "CREATE INDEX idx_mapping ON calcom_host_mapping_audits (mapping_id)",
    "ALTER TABLE appointments ADD COLUMN calcom_host_id INTEGER NULL",
    "CREATE INDEX appointments_calcom_host_id_index ON appointments (calcom_host_id)",
];

const POSTGRES_PLAN: [&str; 4] = [
    "CREATE TYPE mapping_source AS ENUM ('auto_email', 'auto_name', 'manual', 'admin')",
    "CREATE TABLE calcom_host_mappings (id BIGSERIAL PRIMARY KEY, \
     staff_id UUID NOT NULL REFERENCES staff (id) ON DELETE CASCADE, calcom_host_id INTEGER NOT NULL, \
     calcom_name VARCHAR(255) NOT NULL, calcom_email VARCHAR(255) NOT NULL, calcom_username VARCHAR(255) NULL, \
     calcom_timezone VARCHAR(50) NULL, mapping_source mapping_source NOT NULL DEFAULT 'manual', \
     confidence_score SMALLINT NOT NULL DEFAULT 100, last_synced_at TIMESTAMPTZ NULL, \
     is_active BOOLEAN NOT NULL DEFAULT TRUE, metadata JSONB NULL, created_at TIMESTAMPTZ NOT NULL, \
     updated_at TIMESTAMPTZ NOT NULL, UNIQUE (calcom_host_id, staff_id))",
    "CREATE TABLE calcom_host_mapping_audits (id BIGSERIAL PRIMARY KEY, \
     mapping_id BIGINT NOT NULL REFERENCES calcom_host_mappings (id) ON DELETE CASCADE, action VARCHAR(255) NOT NULL, \
     old_values TEXT NULL, new_values TEXT NULL, changed_by BIGINT NULL, changed_at TIMESTAMPTZ NOT NULL, \
     reason TEXT NULL)",
    "ALTER TABLE appointments ADD COLUMN calcom_host_id INTEGER NULL",
];

const POSTGRES_BARE: [&str; 3] = [
    "CREATE TABLE calcom_host_mappings (id SERIAL PRIMARY KEY, staff_id UUID NOT NULL, \
     calcom_host_id BIGINT NOT NULL, calcom_name VARCHAR(100) NOT NULL, calcom_email VARCHAR(100) NOT NULL, \
     mapping_source VARCHAR(20) COLLATE \"C\" NOT NULL, is_active BOOLEAN NULL DEFAULT TRUE)",
    "CREATE TABLE calcom_host_mapping_audits (id SERIAL PRIMARY KEY, mapping_id BIGINT NOT NULL, \
     action VARCHAR(20) NOT NULL)",
    "ALTER TABLE appointments ADD COLUMN calcom_host_id BIGINT NULL",
];
