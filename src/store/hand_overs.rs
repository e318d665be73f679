//! Whose appointments go to whom when a member of staff leaves, and the record of it.

use sea_orm::prelude::TextUuid;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DerivePartialModel, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Set,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::entity::hand_over::{ActiveModel, Column, Entity, Model};
use super::entity::{appointment, assignment};
use super::{GatewaySchema, Prior, StoreError};
use crate::event::{AppointmentId, CompanyId, StaffId};

/// An appointment that a member of staff has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub appointment: AppointmentId,
    /// When it starts, ms since 1970.
    pub starts_ms: i64,
    /// We gave it to them; else somebody else did.
    pub is_ours: bool,
}

/// An appointment that was handed over, and what our row said of it before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// Which.
    pub appointment: AppointmentId,
    /// Before.
    pub prior: Prior,
}

/// A hand-over.
#[derive(Clone, Debug, PartialEq)]
pub struct HandOverRow {
    /// Its number; 0 of one that is to be noted.
    pub id: i64,
    /// The act of its decisions about mappings.
    pub act: Uuid,
    /// The company.
    pub company: CompanyId,
    /// From whom.
    pub from: StaffId,
    /// To whom.
    pub to: StaffId,
    /// Appointments that start then or later, ms since 1970.
    pub from_ms: i64,
    /// The appointments.
    pub given: Vec<Given>,
    /// Who did it.
    pub made_by: String,
    /// Why.
    pub why: Option<String>,
    /// When, ms since 1970.
    pub at_ms: i64,
    /// When it was taken back, ms since 1970.
    pub undone_ms: Option<i64>,
}

impl TryFrom<Model> for HandOverRow {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            act: row.token.0,
            company: row.company_id,
            from: row.from_staff_id,
            to: row.to_staff_id,
            from_ms: row.from_ms,
            given: serde_json::from_str(&row.appointments).map_err(|error| {
                StoreError::Schema(format!("hostmatch_hand_overs.appointments of {}: {error}", row.id))
            })?,
            made_by: row.made_by,
            why: row.why,
            at_ms: row.at_ms,
            undone_ms: row.undone_ms,
        })
    }
}

#[derive(DerivePartialModel)]
#[sea_orm(entity = "appointment::Entity")]
struct Assigned {
    id: AppointmentId,
    staff_id: Option<StaffId>,
    #[sea_orm(nested)]
    ours: Decided,
}

#[derive(DerivePartialModel)]
#[sea_orm(entity = "assignment::Entity")]
struct Decided {
    starts_ms: i64,
    staff_id: Option<StaffId>,
}

/// The appointments of this member of staff that start at `from_ms` or later, as far as hostmatch knows
/// when they start, by id.
///
/// # Errors
/// [`StoreError`]
pub async fn held_by(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    company: CompanyId,
    staff: &StaffId,
    from_ms: i64,
) -> Result<Vec<Held>, StoreError> {
    let rows = appointment::Entity::find()
        .inner_join(assignment::Entity)
        .filter(assignment::Column::CompanyId.eq(company))
        .filter(appointment::Column::CompanyId.eq(company))
        .filter(appointment::Column::StaffId.eq(schema.staff_key.key(staff)?))
        .filter(assignment::Column::StartsMs.gte(from_ms))
        .order_by_asc(appointment::Column::Id)
        .into_partial_model::<Assigned>()
        .all(db)
        .await?;
    let held = |row: Assigned| Held {
        appointment: row.id,
        starts_ms: row.ours.starts_ms,
        is_ours: row.ours.staff_id == row.staff_id,
    };
    Ok(rows.into_iter().map(held).collect())
}

/// How many appointments of this member of staff there are of which hostmatch does not know when they
/// start: no event about them has been decided.
///
/// # Errors
/// [`StoreError`]
pub async fn held_at_unknown_times(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    company: CompanyId,
    staff: &StaffId,
) -> Result<i64, StoreError> {
    let count = appointment::Entity::find()
        .select_only()
        .expr(appointment::Column::Id.count())
        .left_join(assignment::Entity)
        .filter(appointment::Column::CompanyId.eq(company))
        .filter(appointment::Column::StaffId.eq(schema.staff_key.key(staff)?))
        .filter(assignment::Column::StartsMs.is_null());
    Ok(count.into_tuple().one(db).await?.unwrap_or(0))
}

/// Notes a hand-over; gives its number.
///
/// # Errors
/// [`StoreError`]
pub async fn insert_hand_over(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    row: &HandOverRow,
) -> Result<i64, StoreError> {
    let row = ActiveModel {
        token: Set(TextUuid(row.act)),
        company_id: Set(row.company),
        from_staff_id: Set(schema.staff_key.key(&row.from)?),
        to_staff_id: Set(schema.staff_key.key(&row.to)?),
        from_ms: Set(row.from_ms),
        appointments: Set(serde_json::to_string(&row.given).unwrap_or_else(|_| "[]".to_owned())),
        made_by: Set(row.made_by.clone()),
        why: Set(row.why.clone()),
        at_ms: Set(row.at_ms),
        ..Default::default()
    };
    Ok(Entity::insert(row).exec(tx).await?.last_insert_id)
}

/// The hand-over of this company with this number.
///
/// # Errors
/// [`StoreError`]
pub async fn hand_over(
    db: &impl ConnectionTrait,
    id: i64,
    company: CompanyId,
) -> Result<Option<HandOverRow>, StoreError> {
    let row = Entity::find().filter(Column::Id.eq(id)).filter(Column::CompanyId.eq(company)).one(db).await?;
    row.map(HandOverRow::try_from).transpose()
}

/// Notes that a hand-over was taken back. False: it was, before.
///
/// # Errors
/// [`StoreError`]
pub async fn note_hand_over_undone(
    tx: &impl ConnectionTrait,
    id: i64,
    by: &str,
    why: Option<&str>,
    at_ms: i64,
) -> Result<bool, StoreError> {
    let undone = ActiveModel {
        undone_by: Set(Some(by.to_owned())),
        undone_why: Set(why.map(str::to_owned)),
        undone_ms: Set(Some(at_ms)),
        ..Default::default()
    };
    let updated = Entity::update_many()
        .set(undone)
        .filter(Column::Id.eq(id))
        .filter(Column::UndoneMs.is_null())
        .exec(tx)
        .await?;
    Ok(updated.rows_affected > 0)
}
