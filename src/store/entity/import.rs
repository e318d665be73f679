//! `hostmatch_imports`: imports of mappings.

use sea_orm::entity::prelude::*;

use crate::event::CompanyId;
use crate::runtime::clock::as_rfc3339;

/// A row. `docs/commands.md` describes its JSON, which is a contract.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, serde::Serialize)]
#[sea_orm(table_name = "hostmatch_imports")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Names the act of its decisions.
    #[serde(skip)]
    pub token: String,
    /// The one company of which it is, if it was said.
    #[serde(rename = "company")]
    pub company_id: Option<CompanyId>,
    /// The file's name.
    pub file: String,
    /// Lines of the file.
    #[serde(rename = "lines")]
    pub line_count: i32,
    /// Lines by which a mapping was made or changed.
    pub changed: i32,
    /// Lines that were not imported.
    pub failed: i32,
    /// Who made it.
    pub made_by: String,
    /// Why.
    pub why: Option<String>,
    /// When it began, in ms since 1970.
    #[serde(rename = "at", serialize_with = "as_rfc3339")]
    pub at_ms: i64,
    /// When it ended, in ms since 1970.
    #[serde(rename = "ended", serialize_with = "as_rfc3339")]
    pub ended_ms: Option<i64>,
    /// Who took it back.
    pub undone_by: Option<String>,
    /// Why that was.
    #[serde(skip)]
    pub undone_why: Option<String>,
    /// When that was, in ms since 1970.
    #[serde(rename = "undone", serialize_with = "as_rfc3339")]
    pub undone_ms: Option<i64>,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
