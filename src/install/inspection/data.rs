//! What the gateway's rows hold in store for matching, as counts: of nobody's row is anything told.

use migration::gateway::{Columns, KeyKind};
use sea_orm::DbBackend;
use serde::Serialize;

use super::first;
use crate::store::{Database, DbId, StoreError};

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Count {
    /// Its name, stable.
    pub(crate) name: &'static str,
    /// How many; none where that could not be counted.
    pub(crate) count: Option<i64>,
    /// Why it could not.
    pub(crate) not_counted: Option<&'static str>,
    pub(crate) meaning: &'static str,
    /// What follows when there are any, and what to do; none when nothing has to be done.
    pub(crate) remedy: Option<&'static str>,
}

/// What became of counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Number(i64),
    TooSlow,
    NotAllowed,
}

/// The number in the column `n` of the first row; nothing counts as 0.
pub(super) async fn count(database: &Database, sql: &str) -> Result<Counted, StoreError> {
    match first(database, sql).await {
        Ok(row) => {
            let n = row.map(|row| row.try_get_by_index::<Option<DbId>>(0)).transpose()?.flatten();
            Ok(Counted::Number(n.map_or(0, |n| n.0)))
        }
        Err(StoreError::Conflict(_)) => Ok(Counted::TooSlow),
        Err(StoreError::Denied(_)) => Ok(Counted::NotAllowed),
        Err(error) => Err(error),
    }
}

struct Question {
    name: &'static str,
    sql: String,
    meaning: &'static str,
    remedy: Option<&'static str>,
}

/// Counts.
pub(super) async fn inspect(database: &Database, columns: &Columns) -> Result<Vec<Count>, StoreError> {
    let mut counts = Vec::new();
    for Question { name, sql, meaning, remedy } in questions(columns) {
        let (count, not_counted) = match count(database, &sql).await? {
            Counted::Number(n) => (Some(n), None),
            Counted::TooSlow => (None, Some("it took longer than database.statement_timeout")),
            Counted::NotAllowed => (None, Some("this user may not read it")),
        };
        counts.push(Count { name, count, not_counted, meaning, remedy });
    }
    Ok(counts)
}

fn questions(columns: &Columns) -> Vec<Question> {
    let mut questions = Vec::new();
    let mut ask = |needed: &[(&str, &str)], name, sql: String, meaning, remedy| {
        if needed.iter().all(|(table, column)| columns.has(table, column)) {
            questions.push(Question { name, sql, meaning, remedy });
        }
    };
    let bytes = |expression: &str| match columns.backend() {
        // A folding collation would group what hostmatch tells apart.
        DbBackend::MySql => format!("CAST({expression} AS BINARY)"),
        _ => expression.to_owned(),
    };
    let rows = |table: &str, condition: &str| format!("SELECT COUNT(*) AS n FROM {table} WHERE {condition}");
    let groups = |table: &str, condition: &str, key: &str, having: &str| {
        format!(
            "SELECT COUNT(*) AS n FROM (SELECT 1 AS one FROM {table} WHERE {condition} GROUP BY {key} HAVING {having}) AS found"
        )
    };

    let email = ("staff", "email");
    ask(
        &[email, ("staff", "company_id")],
        "staff_emails_shared",
        groups(
            "staff",
            &format!("TRIM(email) <> ''{}", active(columns)),
            &format!("company_id, {}", bytes("LOWER(TRIM(email))")),
            "COUNT(*) > 1",
        ),
        "e-mail addresses (trimmed, lower case) that several active staff of one company have",
        Some("a host with such an address is ambiguous and never assigned by it: give each their own"),
    );
    ask(
        &[email],
        "staff_without_email",
        rows("staff", "email IS NULL OR TRIM(email) = ''"),
        "staff without an e-mail address",
        None,
    );
    ask(
        &[("staff", "company_id")],
        "staff_without_company",
        rows("staff", "company_id IS NULL"),
        "staff without a company",
        Some("nobody is matched without a company: set it, if they are to be found"),
    );
    ask(
        &[("staff", "calcom_user_id")],
        "staff_with_calcom_user",
        rows("staff", "calcom_user_id IS NOT NULL"),
        "staff with a calcom_user_id: the gateway's own link to Cal.com, which hostmatch does not read",
        None,
    );
    ask(
        &[("appointments", "staff_id")],
        "appointments_with_staff",
        rows("appointments", "staff_id IS NOT NULL"),
        "appointments that have their staff already: they keep it",
        None,
    );
    ask(
        &[("appointments", "company_id")],
        "appointments_without_company",
        rows("appointments", "company_id IS NULL"),
        "appointments without a company",
        Some("no event about them can be decided, because nobody is matched without a company: set it"),
    );
    reference_questions(columns, &mut ask, &rows, &groups, &bytes);
    let model = ("appointments", "assignment_model_used");
    ask(
        &[model],
        "appointments_assigned_by_gateway",
        rows("appointments", "assignment_model_used IS NOT NULL"),
        "appointments to which a rule of the gateway assigned somebody (assignment_model_used)",
        None,
    );
    ask(
        &[model],
        "appointments_assigned_by_person",
        rows("appointments", "assignment_model_used = 'manual'"),
        "appointments to which a person assigned somebody (assignment_model_used is manual)",
        None,
    );
    questions
}

type Ask<'a> = dyn FnMut(&[(&str, &str)], &'static str, String, &'static str, Option<&'static str>) + 'a;

fn reference_questions(
    columns: &Columns,
    ask: &mut Ask<'_>,
    rows: &dyn Fn(&str, &str) -> String,
    groups: &dyn Fn(&str, &str, &str, &str) -> String,
    bytes: &dyn Fn(&str) -> String,
) {
    const REFERENCE: &str = "calcom_v2_booking_id";
    let backend = columns.backend();
    let column = ("appointments", REFERENCE);
    let is_text =
        columns.get(column.0, column.1).is_some_and(|column| column.key_kind(backend) == Some(KeyKind::Text));
    if is_text {
        let number = match backend {
            DbBackend::MySql => format!("{REFERENCE} REGEXP '^[0-9]+$'"),
            DbBackend::Postgres => format!("{REFERENCE} ~ '^[0-9]+$'"),
            _ => format!("{REFERENCE} <> '' AND {REFERENCE} NOT GLOB '*[^0-9]*'"),
        };
        ask(
            &[column],
            "booking_ids_numeric",
            rows("appointments", &number),
            "appointments whose calcom_v2_booking_id is a number: found by the booking's id",
            None,
        );
        ask(
            &[column],
            "booking_ids_text",
            rows("appointments", &format!("{REFERENCE} IS NOT NULL AND NOT ({number})")),
            "appointments whose calcom_v2_booking_id is a text: found by the booking's uid",
            None,
        );
        ask(
            &[column],
            "booking_ids_differing_in_case",
            groups(
                "appointments",
                &format!("{REFERENCE} IS NOT NULL"),
                &bytes(&format!("LOWER({REFERENCE})")),
                &format!("COUNT(DISTINCT {}) > 1", bytes(REFERENCE)),
            ),
            "groups of booking references that differ only in case: they are told apart",
            None,
        );
    }
    let exact = if is_text { bytes(REFERENCE) } else { REFERENCE.to_owned() };
    ask(
        &[column],
        "booking_ids_repeated",
        groups("appointments", &format!("{REFERENCE} IS NOT NULL"), &exact, "COUNT(*) > 1"),
        "booking references that several appointments have",
        Some(
            "an event that names such a booking waits for a person, unless it names the appointment: \
              let appointment_id stand in the gateway's events",
        ),
    );
}

/// Who counts as active, as a condition that goes on.
fn active(columns: &Columns) -> String {
    let mut condition = String::new();
    if let Some(flag) = ["is_active", "active"].into_iter().find(|flag| columns.has("staff", flag)) {
        let is_boolean = columns.get("staff", flag).is_some_and(|flag| flag.data_type == "bool");
        let yes = if is_boolean { "TRUE" } else { "1" };
        condition.push_str(&format!(" AND {flag} = {yes}"));
    }
    if columns.has("staff", "deleted_at") {
        condition.push_str(" AND deleted_at IS NULL");
    }
    condition
}
