//! What the gateway's tables look like in this installation.

use migration::MigrateError;
use migration::gateway::{Column, Columns, KeyKind};
use sea_orm::ColumnTrait;
use serde::Serialize;

use super::entity::appointment::Column as Reference;
use super::entity::{GatewayColumns, appointment, staff};
use super::prelude::*;
use super::{Database, MappingClocks, StoreError, clock, version};
use crate::config::GatewayConfig;

/// The gateway's tables as they are here, read once after connecting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySchema {
    /// The engine.
    pub backend: DbBackend,
    /// What `staff.id` is.
    pub staff_key: KeyKind,
    /// Where the name of a member of staff stands.
    pub staff_name: NameColumns,
    /// There is a `staff.email`.
    pub staff_email: bool,
    /// The flag that says who is active: `is_active`, else `active`; none: everybody not deleted.
    pub staff_active: Option<&'static str>,
    /// `staff` has soft deletes (`deleted_at`).
    pub staff_deleted_at: bool,
    /// The columns of `appointments` that hold a booking's reference, in the order of searching:
    /// `calcom_v2_booking_id` always, `calcom_v2_booking_uid` and `calcom_booking_id` where they are.
    pub booking_refs: Vec<RefColumn>,
    /// An SQL expression for "now" as `appointments.updated_at` has it; none without that column.
    pub updated_at: Option<String>,
    /// The same for the times of mappings and their audits.
    pub mapping_clocks: MappingClocks,
    /// Which columns the gateway's tables have.
    pub columns: GatewayColumns,
}

/// Where the name of a member of staff stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameColumns {
    /// One column, `name`.
    Full,
    /// Two, `first_name` and `last_name`.
    FirstLast,
}

/// A column of `appointments` that holds a booking's reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RefColumn {
    /// Its name.
    #[serde(rename = "column")]
    pub name: &'static str,
    /// It holds numbers, not text: only a reference that is a number can stand there.
    pub numeric: bool,
    /// It is a CHAR: blanks at the end of what stands there mean nothing.
    #[serde(skip)]
    pub is_padded: bool,
}

impl GatewaySchema {
    /// Looks at the gateway's tables and at ours.
    ///
    /// # Errors
    /// [`StoreError::Schema`] refuses a server that is too old, names every table or column that is
    /// missing and cannot be done without, and refuses a time zone that the server does not know, and
    /// tables from which a newer program has taken something away. [`StoreError::Behind`] says that
    /// `hostmatch migrate up` is due.
    pub async fn read(database: &Database, config: &GatewayConfig) -> Result<Self> {
        version::check(database).await?;
        let columns = Columns::read(database.connection()).await?;
        let problems = columns.problems();
        if !problems.is_empty() {
            return Err(StoreError::Schema(format!(
                "the gateway's tables are not as hostmatch needs them: {}. Is database.url the gateway's \
                 database? (For a new installation without one: hostmatch migrate baseline)",
                problems.join("; ")
            )));
        }
        migrated(database).await?;
        Self::of(database, &columns, config).await
    }

    /// What will be used of these columns. Refuses what [`Columns::problems`] does not tell.
    pub(crate) async fn of(database: &Database, columns: &Columns, config: &GatewayConfig) -> Result<Self> {
        let backend = database.backend();
        active_flag_is_boolean(columns, backend)?;
        Ok(Self {
            backend,
            staff_key: find(columns, staff::Column::Id).and_then(|id| id.key_kind(backend)).ok_or_else(
                || StoreError::Schema("staff.id is neither an integer, a text nor a UUID".into()),
            )?,
            staff_name: match find(columns, staff::Column::Name) {
                Some(_) => NameColumns::Full,
                None => NameColumns::FirstLast,
            },
            staff_email: find(columns, staff::Column::Email).is_some(),
            staff_active: ACTIVE
                .into_iter()
                .find(|flag| find(columns, *flag).is_some())
                .map(|flag| flag.as_str()),
            staff_deleted_at: find(columns, staff::Column::DeletedAt).is_some(),
            booking_refs: booking_refs(columns, backend)?,
            updated_at: match find(columns, appointment::Column::UpdatedAt) {
                Some(column) => clock::now_for(database, column, &config.timezone).await?,
                None => None,
            },
            mapping_clocks: MappingClocks::of(database, columns, &config.timezone).await?,
            columns: GatewayColumns::of(columns),
        })
    }
}

/// The flag that says who is active, by its names.
const ACTIVE: [staff::Column; 2] = [staff::Column::IsActive, staff::Column::Active];

/// The column as it is here, if it is.
pub(super) fn find<C: ColumnTrait>(columns: &Columns, column: C) -> Option<&Column> {
    columns.get(C::EntityName::default().table_name(), column.as_str())
}

/// PostgreSQL compares a boolean with nothing else; the others keep it as a number anyway.
fn active_flag_is_boolean(columns: &Columns, backend: DbBackend) -> Result<()> {
    match ACTIVE.into_iter().find_map(|flag| find(columns, flag)) {
        Some(Column { name, data_type, full_type, .. })
            if backend == DbBackend::Postgres && !matches!(data_type.as_str(), "bool" | "boolean") =>
        {
            let wrong = format!("staff.{name} is {full_type} and must be boolean: it says who is active");
            Err(StoreError::Schema(wrong))
        }
        _ => Ok(()),
    }
}

/// Our own tables are there, as this program knows them; a newer program may have added to them.
async fn migrated(database: &Database) -> Result<()> {
    let status = migration::status(database.connection()).await.map_err(|error| match error {
        MigrateError::Database { source, .. } => StoreError::from(source),
        other => StoreError::Schema(other.to_string()),
    })?;
    let names = |which: fn(&migration::Status) -> bool| {
        let names: Vec<&str> = status.iter().filter(|one| which(one)).map(|one| one.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if let Some(names) = names(migration::Status::is_in_the_way) {
        return Err(StoreError::Schema(format!(
            "a newer hostmatch took away from its tables what this version uses ({names}): use that version"
        )));
    }
    names(|one| !one.applied).map_or(Ok(()), |names| Err(StoreError::Behind(names)))
}

fn booking_refs(columns: &Columns, backend: DbBackend) -> Result<Vec<RefColumn>> {
    let mut refs = Vec::new();
    let named = [Reference::CalcomV2BookingId, Reference::CalcomV2BookingUid, Reference::CalcomBookingId];
    for (column, is_required) in named.into_iter().zip([true, false, false]) {
        let Some(there) = find(columns, column) else { continue };
        let name = column.as_str();
        match there.key_kind(backend) {
            Some(KeyKind::Integer) => refs.push(RefColumn { name, numeric: true, is_padded: false }),
            Some(KeyKind::Text) => {
                let is_padded = matches!(there.data_type.as_str(), "char" | "bpchar");
                refs.push(RefColumn { name, numeric: false, is_padded });
            }
            // An optional column of a type that holds no reference is none.
            Some(KeyKind::Uuid) | None if !is_required => {}
            Some(KeyKind::Uuid) | None => {
                return Err(StoreError::Schema(format!(
                    "appointments.{name} is {} and must be a text or an integer",
                    there.full_type
                )));
            }
        }
    }
    Ok(refs)
}
