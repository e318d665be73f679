//! `calcom_host_mapping_audits`: one row per actual change of a mapping; it outlives the mapping.

use sea_orm::entity::prelude::*;

use super::OpaqueId;
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{Actor, AuditAction, Stored};
use crate::store::{DbId, Document, Moment};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "calcom_host_mapping_audits")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: DbId,
    /// The mapping, as long as it exists.
    pub mapping_id: Option<DbId>,
    pub company_id: Option<CompanyId>,
    pub calcom_host_id: Option<HostId>,
    pub staff_id: Option<StaffId>,
    pub action: Option<Stored<AuditAction>>,
    pub old_values: Option<Document>,
    pub new_values: Option<Document>,
    /// The gateway's user who made the change, if there was one.
    pub changed_by: Option<OpaqueId>,
    /// Who made the change: the worker, or a person by name.
    pub actor: Option<Actor>,
    pub changed_at: Option<Moment>,
    pub reason: Option<String>,
    /// Identifies the change, so that making it twice leaves one row.
    pub change_key: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "super::mapping::Entity",
        from = "Column::MappingId",
        to = "super::mapping::Column::Id"
    )]
    Mapping,
}

related!(mapping by Mapping);
