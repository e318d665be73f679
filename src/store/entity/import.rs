//! `hostmatch_imports`: imports of mappings.

use sea_orm::entity::prelude::*;

use super::NoRelation as Relation;
use crate::event::CompanyId;
use crate::runtime::clock::as_rfc3339;

/// `docs/commands.md` describes its JSON, which is a contract.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior, serde::Serialize)]
#[sea_orm(table_name = "hostmatch_imports")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Identifies the action in the audit rows of its decisions.
    #[serde(skip)]
    pub token: String,
    /// The company, if the import was limited to one.
    #[serde(rename = "company")]
    pub company_id: Option<CompanyId>,
    pub file: String,
    #[serde(rename = "lines")]
    pub line_count: i32,
    /// Lines that created or changed a mapping.
    pub changed: i32,
    /// Lines that were not imported.
    pub failed: i32,
    pub made_by: String,
    pub why: Option<String>,
    #[serde(rename = "at", serialize_with = "as_rfc3339")]
    pub at_ms: i64,
    #[serde(rename = "ended", serialize_with = "as_rfc3339")]
    pub ended_ms: Option<i64>,
    pub undone_by: Option<String>,
    #[serde(skip)]
    pub undone_why: Option<String>,
    #[serde(rename = "undone", serialize_with = "as_rfc3339")]
    pub undone_ms: Option<i64>,
}
