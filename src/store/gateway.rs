//! Reads the shape of the gateway's tables in this installation.

use migration::MigrateError;
use migration::gateway::{Column, Columns, KeyKind};
use sea_orm::ColumnTrait;
use serde::Serialize;

use super::entity::appointment::Column as Reference;
use super::entity::{GatewayColumns, appointment, staff};
use super::prelude::*;
use super::{Database, MappingClocks, StoreError, clock, version};
use crate::config::GatewayConfig;
use crate::event::LocalZone;

/// The shape of the gateway's tables, read once after connecting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySchema {
    /// The engine.
    pub backend: DbBackend,
    /// The type of `staff.id`.
    pub staff_key: KeyKind,
    /// The columns for the name of a member of staff.
    pub staff_name: NameColumns,
    /// Whether there is a `staff.email`.
    pub staff_email: bool,
    /// The flag for active staff: `is_active`, else `active`; with neither, all staff who are not deleted are
    /// active.
    pub staff_active: Option<&'static str>,
    /// Whether `staff` has soft deletes (`deleted_at`).
    pub staff_deleted_at: bool,
    /// The columns of `appointments` that hold a booking's reference, in the order in which they are
    /// searched: `calcom_v2_booking_id` always, `calcom_v2_booking_uid` and `calcom_booking_id` if they
    /// exist.
    pub booking_refs: Vec<RefColumn>,
    /// An SQL expression for "now" in `appointments.updated_at`; none without that column.
    pub updated_at: Option<String>,
    /// SQL expressions for "now" in the times of mappings and their audits.
    pub mapping_clocks: MappingClocks,
    /// The zone of times that events give without one (`gateway.timezone`).
    pub local_zone: LocalZone,
    /// The columns that the gateway's tables have.
    pub columns: GatewayColumns,
}

/// The columns for the name of a member of staff.
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
    /// Whether it is an integer column, which can only hold a numeric reference.
    pub numeric: bool,
    /// Whether it is a CHAR, whose trailing blanks are ignored.
    #[serde(skip)]
    pub is_padded: bool,
}

impl GatewaySchema {
    /// Reads the gateway's tables and ours.
    ///
    /// # Errors
    /// Returns [`StoreError::Schema`] for a server that is too old, for missing tables or columns that we
    /// need (it names each), for a time zone that the server does not know, and for tables from which a newer
    /// program has removed something. Returns [`StoreError::Behind`] if migrations are pending.
    pub async fn read(database: &Database, config: &GatewayConfig) -> Result<Self> {
        version::check(database).await?;
        let columns = Columns::read(database.connection()).await?;
        let problems = columns.problems();
        if !problems.is_empty() {
            return Err(StoreError::Schema(format!(
                "the gateway's tables lack what hostmatch needs: {}. Is database.url the gateway's \
                 database? (For a new installation without a gateway, run hostmatch migrate baseline.)",
                problems.join("; ")
            )));
        }
        check_migrated(database).await?;
        Self::of(database, &columns, config).await
    }

    /// Derives the schema from these columns. Fails for problems that [`Columns::problems`] does not find.
    pub(crate) async fn of(database: &Database, columns: &Columns, config: &GatewayConfig) -> Result<Self> {
        let backend = database.backend();
        check_active_flag(columns, backend)?;
        Ok(Self {
            backend,
            staff_key: find(columns, staff::Column::Id).and_then(|id| id.key_kind(backend)).ok_or_else(
                || StoreError::Schema("staff.id must be an integer, a string or a UUID".into()),
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
                Some(column) => clock::now_expression(database, column, &config.timezone).await?,
                None => None,
            },
            mapping_clocks: MappingClocks::of(database, columns, &config.timezone).await?,
            local_zone: clock::local_zone(database, &config.timezone).await?,
            columns: GatewayColumns::of(columns),
        })
    }
}

/// The possible names of the flag for active staff.
const ACTIVE: [staff::Column; 2] = [staff::Column::IsActive, staff::Column::Active];

/// Returns the column, if it exists.
pub(super) fn find<C: ColumnTrait>(columns: &Columns, column: C) -> Option<&Column> {
    columns.get(C::EntityName::default().table_name(), column.as_str())
}

/// Checks the type of the active flag. PostgreSQL compares a boolean only with a boolean; the other engines
/// store it as a number.
fn check_active_flag(columns: &Columns, backend: DbBackend) -> Result<()> {
    match ACTIVE.into_iter().find_map(|flag| find(columns, flag)) {
        Some(Column { name, data_type, full_type, .. })
            if backend == DbBackend::Postgres && !matches!(data_type.as_str(), "bool" | "boolean") =>
        {
            let problem = format!("staff.{name} is {full_type} and must be boolean: it marks active staff");
            Err(StoreError::Schema(problem))
        }
        _ => Ok(()),
    }
}

/// Checks that our own tables are migrated; a newer program may have added to them.
async fn check_migrated(database: &Database) -> Result<()> {
    let status = migration::status(database.connection()).await.map_err(|error| match error {
        MigrateError::Database { source, .. } => StoreError::from(source),
        other => StoreError::Schema(other.to_string()),
    })?;
    let names = |which: fn(&migration::Status) -> bool| {
        let names: Vec<&str> = status.iter().filter(|one| which(one)).map(|one| one.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if let Some(names) = names(migration::Status::is_incompatible) {
        return Err(StoreError::Schema(format!(
            "a newer hostmatch has removed tables or columns that this version uses ({names}): use the newer version"
        )));
    }
    names(|one| !one.applied).map_or(Ok(()), |names| Err(StoreError::Behind(names)))
}

fn booking_refs(columns: &Columns, backend: DbBackend) -> Result<Vec<RefColumn>> {
    let mut refs = Vec::new();
    let named = [Reference::CalcomV2BookingId, Reference::CalcomV2BookingUid, Reference::CalcomBookingId];
    for (column, is_required) in named.into_iter().zip([true, false, false]) {
        let Some(found) = find(columns, column) else { continue };
        let name = column.as_str();
        match found.key_kind(backend) {
            Some(KeyKind::Integer) => refs.push(RefColumn { name, numeric: true, is_padded: false }),
            Some(KeyKind::Text) => {
                let is_padded = matches!(found.data_type.as_str(), "char" | "bpchar");
                refs.push(RefColumn { name, numeric: false, is_padded });
            }
            // An optional column whose type cannot hold a reference is ignored.
            Some(KeyKind::Uuid) | None if !is_required => {}
            Some(KeyKind::Uuid) | None => {
                return Err(StoreError::Schema(format!(
                    "appointments.{name} is {} and must be a string or an integer",
                    found.full_type
                )));
            }
        }
    }
    Ok(refs)
}
