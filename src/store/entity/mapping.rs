//! `calcom_host_mappings`: which member of staff a Cal.com host is in a company. The table may be adopted
//! from the gateway: then integer widths differ, and columns that are NOT NULL in our shape may be NULL.

use sea_orm::entity::prelude::*;

use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{Confidence, MappingSource, Stored};
use crate::store::{DbId, Document, Moment};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "calcom_host_mappings")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: DbId,
    /// The company. `None` if a gateway wrote the row: then it belongs to the company of its member of staff.
    pub company_id: Option<CompanyId>,
    pub staff_id: StaffId,
    pub calcom_host_id: HostId,
    /// The host's name when the mapping was created.
    pub calcom_name: Option<String>,
    /// The host's e-mail address at that time.
    pub calcom_email: Option<String>,
    /// The host's user name at that time.
    pub calcom_username: Option<String>,
    /// The host's time zone at that time.
    pub calcom_timezone: Option<String>,
    pub mapping_source: Option<Stored<MappingSource>>,
    pub confidence_score: Option<Confidence>,
    /// When the host was last compared with Cal.com.
    pub last_synced_at: Option<Moment>,
    pub is_active: Option<bool>,
    /// The metadata of the change that created it.
    pub metadata: Option<Document>,
    pub created_at: Option<Moment>,
    pub updated_at: Option<Moment>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(belongs_to = "super::staff::Entity", from = "Column::StaffId", to = "super::staff::Column::Id")]
    Staff,
    #[sea_orm(has_many = "super::mapping_audit::Entity")]
    Audits,
}

related!(staff by Staff, mapping_audit by Audits);
