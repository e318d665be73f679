//! `calcom_host_mapping_audits`: one row for each real change of a mapping, which outlives it.

use sea_orm::entity::prelude::*;

use super::OpaqueId;
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{Actor, AuditAction, Stored};
use crate::store::{DbId, Document, Moment};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "calcom_host_mapping_audits")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: DbId,
    /// The mapping, while there is one.
    pub mapping_id: Option<DbId>,
    /// The company.
    pub company_id: Option<CompanyId>,
    /// The host.
    pub calcom_host_id: Option<HostId>,
    /// The member of staff.
    pub staff_id: Option<StaffId>,
    /// What was done.
    pub action: Option<Stored<AuditAction>>,
    /// The fields before.
    pub old_values: Option<Document>,
    /// The fields after.
    pub new_values: Option<Document>,
    /// The gateway's user who did it, if it was one.
    pub changed_by: Option<OpaqueId>,
    /// Who did it: the worker, or somebody by name.
    pub actor: Option<Actor>,
    /// When.
    pub changed_at: Option<Moment>,
    /// Why, in words.
    pub reason: Option<String>,
    /// Names the change, so that the same one made twice leaves one row.
    pub change_key: Option<String>,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The mapping.
    #[sea_orm(
        belongs_to = "super::mapping::Entity",
        from = "Column::MappingId",
        to = "super::mapping::Column::Id"
    )]
    Mapping,
    /// The gateway's user.
    #[sea_orm(belongs_to = "super::user::Entity", from = "Column::ChangedBy", to = "super::user::Column::Id")]
    User,
}

impl Related<super::mapping::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Mapping.def()
    }
}

impl Related<super::user::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::User.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
