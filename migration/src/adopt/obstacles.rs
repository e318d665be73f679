//! Finds what a person has to fix before anything can be adopted. It runs before the first statement, and
//! lists the rows by their keys. This module also builds the prechecks for rows that would prevent a table
//! from being restored.

use sea_orm_migration::sea_orm::{ConnectionTrait, DbErr};

use super::alter::{type_length, width};
use super::existing::ExistingTable;
use super::{audits, mappings};
use crate::catalog::rows;
use crate::dialect::Dialect;
use crate::examination::Obstacle;
use crate::gateway::{Column, Columns};
use crate::migration::Op;

/// The maximum number of rows of each kind that are listed.
const SHOWN: usize = 100;

/// The type that a column needs to be adopted.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Integer,
    /// At least 32 bits: a Cal.com id.
    HostId,
    Text,
    Flag,
    /// The type of `staff.id`.
    Staff,
    Json,
    Moment,
    Any,
}

impl Kind {
    /// Describes the required type; none if the column has it.
    fn wanted(self, column: &Column, is_enum: bool, columns: &Columns) -> Option<&'static str> {
        let backend = columns.backend();
        let base = column.data_type.as_str();
        let (wanted, is_it) = match self {
            Self::Integer => ("an integer", column.is_integer(backend)),
            Self::HostId => {
                ("an integer of at least 32 bits", ["int", "bigint", "int4", "int8"].contains(&base))
            }
            Self::Text => {
                let is_text = base.ends_with("text") || ["char", "varchar", "bpchar"].contains(&base);
                ("text or an enumeration", is_enum || is_text)
            }
            Self::Flag => ("a boolean", ["tinyint", "bool"].contains(&base)),
            Self::Staff => {
                let staff = columns.get("staff", "id").and_then(|id| id.key_kind(backend));
                ("the type of staff.id", staff.is_some() && column.key_kind(backend) == staff)
            }
            Self::Json => {
                let kinds = ["json", "jsonb", "longtext", "mediumtext", "text"];
                ("JSON or long text", kinds.contains(&base))
            }
            Self::Moment => ("a timestamp", ["timestamp", "timestamptz", "datetime"].contains(&base)),
            Self::Any => ("anything", true),
        };
        (!is_it).then_some(wanted)
    }
}

/// Columns that this program writes: the required type of each, and the definition with which it is added if
/// missing. A column without a definition must exist.
type Shape = &'static [(&'static str, Kind, Option<&'static str>)];

pub(super) const MAPPINGS: Shape = &[
    ("id", Kind::Integer, None),
    // NULL in rows that the gateway inserts: it does not know the column.
    ("company_id", Kind::Integer, Some("{company} NULL")),
    ("staff_id", Kind::Staff, None),
    ("calcom_host_id", Kind::HostId, None),
    ("calcom_name", Kind::Text, None),
    ("calcom_email", Kind::Text, None),
    ("calcom_username", Kind::Text, Some("VARCHAR(255) NULL")),
    ("calcom_timezone", Kind::Text, Some("VARCHAR(50) NULL")),
    ("mapping_source", Kind::Text, None),
    ("confidence_score", Kind::Integer, Some("SMALLINT NOT NULL DEFAULT 100")),
    ("is_active", Kind::Flag, None),
    ("last_synced_at", Kind::Moment, Some("{moment} NULL")),
    ("metadata", Kind::Json, Some("{json} NULL")),
    ("created_at", Kind::Moment, Some("{moment} NULL DEFAULT CURRENT_TIMESTAMP")),
    ("updated_at", Kind::Moment, Some("{moment} NULL DEFAULT CURRENT_TIMESTAMP")),
];

pub(super) const AUDITS: Shape = &[
    ("id", Kind::Integer, None),
    ("mapping_id", Kind::Integer, None),
    ("action", Kind::Text, None),
    ("company_id", Kind::Integer, Some("BIGINT NULL")),
    ("calcom_host_id", Kind::HostId, Some("INT NULL")),
    ("staff_id", Kind::Staff, Some("{staff} NULL")),
    ("old_values", Kind::Json, Some("{json} NULL")),
    ("new_values", Kind::Json, Some("{json} NULL")),
    ("changed_by", Kind::Any, Some("BIGINT NULL")),
    // Rows that the gateway inserts leave it out.
    ("actor", Kind::Text, Some("VARCHAR(255) NOT NULL DEFAULT 'gateway'")),
    ("changed_at", Kind::Moment, Some("{now}")),
    ("reason", Kind::Text, Some("TEXT NULL")),
    ("change_key", Kind::Text, Some("CHAR(36) NULL")),
];

/// This column is computed, so it is never required.
const ACTIVE: (&str, Kind, Option<&str>) = ("active_host_id", Kind::Integer, Some(""));

/// Finds columns of the wrong type. The rows of such a table cannot be checked.
pub(super) fn check_shape(found: &ExistingTable, columns: &Columns) -> Option<Obstacle> {
    let table = &found.table;
    let shape = if table == mappings::TABLE { MAPPINGS } else { AUDITS };
    let mut wrong = Vec::new();
    for (name, kind, added) in shape.iter().chain([&ACTIVE]) {
        match columns.get(table, name) {
            None if added.is_none() => wrong.push(format!("the column {name} is missing")),
            None => {}
            Some(column) => {
                let is_enum = found.column(name).is_some_and(|column| column.is_enum);
                let narrow = column.charset.as_deref().filter(|charset| *charset != "utf8mb4");
                // Only names can contain any character; sources and actions are our own values.
                if let Some(charset) = narrow.filter(|_| name.starts_with("calcom_")) {
                    wrong.push(format!(
                        "{name} is in {charset}, which cannot hold every name, and must be in utf8mb4"
                    ));
                }
                if let Some(wanted) = kind.wanted(column, is_enum, columns) {
                    wrong.push(format!("{name} is {} and must be {wanted}", column.full_type));
                }
            }
        }
    }
    if found.column("id").is_some_and(|id| !id.fills_itself) {
        wrong.push("id has no auto-increment".into());
    }
    for column in &found.columns {
        if !column.fills_itself && !shape.iter().any(|(name, ..)| *name == column.name) {
            wrong.push(format!("hostmatch does not know the column {}, which requires a value", column.name));
        }
    }
    (!wrong.is_empty()).then(|| {
        Obstacle::new(
            format!("the table {table} cannot be adopted: {}", wrong.join("; ")),
            "rename it (RENAME TABLE), or give it these columns, types or defaults",
        )
    })
}

/// Checks the type of the column `appointments.calcom_host_id`.
pub(super) fn check_column(columns: &Columns) -> Option<Obstacle> {
    let column = columns.get("appointments", "calcom_host_id")?;
    let wanted = Kind::HostId.wanted(column, false, columns)?;
    Some(Obstacle::new(
        format!("appointments.calcom_host_id is {} and must be {wanted}", column.full_type),
        "rename the column or change its type, and adapt the code that writes to it",
    ))
}

/// Finds rows that our constraints would refuse, or that we could not read.
pub(super) async fn check_mappings<C: ConnectionTrait>(
    connection: &C,
    found: &ExistingTable,
    columns: &Columns,
    d: &Dialect,
) -> Result<Vec<Obstacle>, DbErr> {
    let table = mappings::TABLE;
    let (text, ids) = if d.is_mysql() {
        ("CHAR", "GROUP_CONCAT(m.id ORDER BY m.id SEPARATOR ', ')")
    } else {
        ("TEXT", "string_agg(m.id::text, ', ' ORDER BY m.id)")
    };
    let same_staff = same_staff(columns, d);
    let has_company = found.has("company_id");
    let company = if has_company { "COALESCE(m.company_id, s.company_id)" } else { "s.company_id" };
    let joined = format!("FROM {table} m LEFT JOIN staff s ON s.id = {same_staff}");
    let id = format!("CONCAT('mapping ', CAST(m.id AS {text}))");
    let mut checks = vec![
        (
            "a host has several active mappings in a company",
            format!(
                "SELECT CONCAT('company ', CAST({company} AS {text}), ', host ', CAST(m.calcom_host_id AS {text}), \
                 ': mappings ', {ids}) {joined} WHERE m.is_active AND {company} IS NOT NULL \
                 AND m.calcom_host_id IS NOT NULL \
                 GROUP BY {company}, m.calcom_host_id HAVING COUNT(*) > 1 ORDER BY {company}, m.calcom_host_id"
            ),
            "deactivate all but one of each (is_active = FALSE)",
        ),
        (
            "several mappings have the same host and member of staff",
            format!(
                "SELECT CONCAT('host ', CAST(m.calcom_host_id AS {text}), ': mappings ', {ids}) FROM {table} m \
                 WHERE m.calcom_host_id IS NOT NULL GROUP BY m.calcom_host_id, m.staff_id HAVING COUNT(*) > 1 ORDER BY m.calcom_host_id, MIN(m.id)"
            ),
            "delete all but one of each",
        ),
        (
            "the member of staff of a mapping does not exist",
            format!("SELECT {id} {joined} WHERE s.id IS NULL ORDER BY m.id"),
            "delete these mappings, or set staff_id",
        ),
        (
            "a mapping has no host id, or one that cannot be a Cal.com id",
            format!(
                "SELECT {id} FROM {table} m WHERE m.calcom_host_id IS NULL \
                 OR m.calcom_host_id NOT BETWEEN 1 AND 2147483647 ORDER BY m.id"
            ),
            "delete these mappings, or set calcom_host_id",
        ),
    ];
    if has_company {
        checks.push((
            "the company of a mapping does not exist",
            format!(
                "SELECT {id} FROM {table} m LEFT JOIN companies c ON c.id = m.company_id \
                 WHERE m.company_id IS NOT NULL AND c.id IS NULL ORDER BY m.id"
            ),
            "delete these mappings, or set company_id",
        ));
        checks.push((
            "the member of staff of a mapping belongs to another company",
            format!("SELECT {id} {joined} WHERE m.company_id <> s.company_id ORDER BY m.id"),
            "delete these mappings, or set company_id to that of the member of staff",
        ));
    }
    find_rows(connection, checks).await
}

/// Finds audits whose mapping does not exist.
pub(super) async fn check_audits<C: ConnectionTrait>(
    connection: &C,
    mappings_there: bool,
    d: &Dialect,
) -> Result<Vec<Obstacle>, DbErr> {
    let text = if d.is_mysql() { "CHAR" } else { "TEXT" };
    let gone = if mappings_there {
        format!("NOT EXISTS (SELECT 1 FROM {} m WHERE m.id = a.mapping_id)", mappings::TABLE)
    } else {
        "TRUE".to_owned()
    };
    let orphans = (
        "the mapping of an audit does not exist",
        format!(
            "SELECT CONCAT('audit ', CAST(a.id AS {text}), ' of mapping ', CAST(a.mapping_id AS {text})) \
             FROM {} a WHERE a.mapping_id IS NOT NULL AND {gone} ORDER BY a.id",
            audits::TABLE
        ),
        "delete these audits, or move them into a table with another name",
    );
    find_rows(connection, vec![orphans]).await
}

/// Finds obstacles that appeared after the first check: rows that our constraints refuse, in tables that may
/// be partly adopted. The gateway keeps writing during a migration.
pub(crate) async fn find_late<C: ConnectionTrait>(connection: &C) -> Result<Vec<Obstacle>, DbErr> {
    let columns = Columns::read(connection).await?;
    let d = Dialect::of(&columns);
    let has_mappings = columns.has_table(mappings::TABLE);
    let mut obstacles = Vec::new();
    if has_mappings {
        let found = ExistingTable::read(connection, mappings::TABLE).await?;
        obstacles.extend(check_mappings(connection, &found, &columns, &d).await?);
    }
    if columns.has_table(audits::TABLE) {
        obstacles.extend(check_audits(connection, has_mappings, &d).await?);
    }
    Ok(obstacles)
}

async fn find_rows<C: ConnectionTrait>(
    connection: &C,
    checks: Vec<(&str, String, &str)>,
) -> Result<Vec<Obstacle>, DbErr> {
    let mut obstacles = Vec::new();
    for (what, query, remedy) in checks {
        let rows = rows(connection, format!("{query} LIMIT {}", SHOWN + 1)).await?;
        let mut rows: Vec<String> =
            rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
        if rows.is_empty() {
            continue;
        }
        if rows.len() > SHOWN {
            rows.truncate(SHOWN);
            rows.push("and more".into());
        }
        obstacles.push(Obstacle { rows, ..Obstacle::new(what, remedy) });
    }
    Ok(obstacles)
}

/// Returns `m.staff_id` in a form comparable to `staff.id`: MySQL refuses to mix two collations.
fn same_staff(columns: &Columns, d: &Dialect) -> String {
    let (id, ours) = (columns.get("staff", "id"), columns.get(mappings::TABLE, "staff_id"));
    let collation = |column: Option<&Column>| column.and_then(|column| column.collation.clone());
    match (id.and_then(|id| id.charset.as_ref()), collation(id)) {
        (Some(charset), Some(wanted)) if d.is_mysql() && collation(ours).as_ref() != Some(&wanted) => {
            format!("CONVERT(m.staff_id USING {charset}) COLLATE {wanted}")
        }
        _ => "m.staff_id".to_owned(),
    }
}

/// Builds a precheck for each of these columns whose old shape holds less than ours: before anything is
/// undone, it finds rows that the old shape could not hold, so that no row is lost. These can only be the
/// gateway's rows: hostmatch's own are deleted, and what it changed is restored first. `leaves` is a
/// condition on rows that are deleted, or whose column is restored, by then. The prechecks go before the
/// changes to the table, so that they remain in the journal until those are undone.
pub(super) fn prechecks(
    found: &ExistingTable,
    d: &Dialect,
    columns: &[&str],
    leaves: impl Fn(&str) -> String,
) -> Vec<Op> {
    let table = &found.table;
    let id = if d.is_mysql() { "CAST(id AS SIGNED)" } else { "id::bigint" };
    let precheck = |name: &str, (shape, fits): (String, String)| {
        let what = format!("{table}.{name} holds a value that does not fit the old column: {shape}")
            .replace('\'', "''");
        Op::precheck(
            &format!("SELECT {id} AS id, '{what}' AS what FROM {table} WHERE NOT ({fits})"),
            // For a row without an actor the condition is NULL: the row is the gateway's.
            &format!("AND NOT COALESCE(({}), FALSE)", leaves(name)),
        )
    };
    columns
        .iter()
        .flat_map(|name| shapes(found, d, name).into_iter().map(move |one| precheck(name, one)))
        .collect()
}

/// Returns each old limit of a column, as a text and as a condition on values that fit.
fn shapes(found: &ExistingTable, d: &Dialect, name: &str) -> Vec<(String, String)> {
    let Some(column) = found.column(name) else { return Vec::new() };
    let definition = &column.definition;
    if column.is_enum {
        return vec![if d.is_mysql() {
            let kind = &definition[..type_length(definition)];
            (kind.to_owned(), format!("CAST({name} AS CHAR) IN {}", &kind["enum".len()..]))
        } else {
            let known = format!("SELECT e::text FROM unnest(enum_range(NULL::{definition})) e");
            (definition.clone(), format!("{name} IN ({known})"))
        }];
    }
    let checks = found.checks.iter().filter(|check| check.columns == [name]);
    let mut shapes: Vec<(String, String)> = checks
        .map(|check| {
            let condition = check.definition.trim_start_matches("CHECK ").trim_end_matches(" NOT VALID");
            (check.name.clone(), condition.to_owned())
        })
        .collect();
    if let Some(width) = width(definition) {
        shapes.push((definition.clone(), format!("CHAR_LENGTH({name}) <= {width}")));
    }
    shapes
}
