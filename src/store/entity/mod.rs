//! The tables as entities: one file per table, with its columns and relations.
//!
//! Our own tables have exactly these columns (a test compares them). The gateway's differ between
//! installations: an entity lists the columns that may exist, and [`Present`] selects those that do.
//!
//! Columns whose names end in `_ms` are times in ms since 1970 (UTC).

#![expect(missing_docs, reason = "the names and types of columns explain them; comments add the rest")]

/// Implements the relations of a module's entity to others.
macro_rules! related {
    ($($other:ident by $relation:ident),+) => {$(
        impl Related<super::$other::Entity> for Entity {
            fn to() -> RelationDef {
                Relation::$relation.def()
            }
        }
    )+};
}

pub mod appointment;
pub mod assignment;
pub mod booking_reference;
pub mod branch;
pub mod company;
pub mod customer;
pub mod dead_letter;
pub mod dead_letter_action;
pub mod dead_letter_action_letter;
pub mod event;
pub mod hand_over;
pub mod host_lock;
pub mod import;
pub mod inbox;
pub mod inbox_action;
pub mod manual_assignment;
pub mod mapping;
pub mod mapping_audit;
pub mod repair;
pub mod repair_item;
pub mod replay;
pub mod replay_item;
pub mod service;
pub mod staff;
pub mod user;
pub mod worker;

use std::collections::BTreeSet;
use std::sync::Arc;

use migration::gateway::Columns;
use sea_orm::{
    ColumnTrait, EntityName as _, EntityTrait, EnumIter, IdenStatic as _, Iterable as _, QuerySelect as _,
    RelationDef, RelationTrait, Select,
};

use super::GatewaySchema;
use crate::event::StaffId;

/// A key or reference of the gateway that may be an integer, a string or a UUID, like [`StaffId`].
pub type OpaqueId = StaffId;

/// The relations of a table that has none.
#[derive(Clone, Copy, Debug, EnumIter)]
pub enum NoRelation {}

impl RelationTrait for NoRelation {
    fn def(&self) -> RelationDef {
        match *self {}
    }
}

/// The columns that the gateway's tables have in this installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayColumns(Arc<BTreeSet<(String, String)>>);

impl GatewayColumns {
    /// Collects the columns of the entities' tables.
    pub(super) fn of(columns: &Columns) -> Self {
        let tables = [
            appointment::Entity.table_name(),
            branch::Entity.table_name(),
            company::Entity.table_name(),
            customer::Entity.table_name(),
            service::Entity.table_name(),
            staff::Entity.table_name(),
            user::Entity.table_name(),
        ];
        let named = tables.into_iter().flat_map(|table| {
            columns.in_table(table).map(move |column| (table.to_owned(), column.name.clone()))
        });
        Self(Arc::new(named.collect()))
    }

    /// Returns whether this column exists.
    pub(in crate::store) fn has<C: ColumnTrait>(&self, column: C) -> bool {
        let table = C::EntityName::default().table_name().to_owned();
        self.0.contains(&(table, column.as_str().to_owned()))
    }

    /// Returns the columns of this entity that exist.
    pub fn present<E: EntityTrait>(&self) -> impl Iterator<Item = E::Column> {
        let table = E::default().table_name().to_owned();
        E::Column::iter().filter(move |column| self.0.contains(&(table.clone(), column.as_str().to_owned())))
    }
}

/// Selects from the gateway's tables.
pub trait Present: Sized {
    /// Selects only the columns that exist; the others are read as `None`.
    ///
    /// The database user must be allowed to read all of these. A query for a user who may read only some of
    /// them (see `gateway grants`) has to list its columns.
    fn present(self, schema: &GatewaySchema) -> Self;
}

impl<E: EntityTrait> Present for Select<E> {
    fn present(self, schema: &GatewaySchema) -> Self {
        self.select_only().columns(schema.columns.present::<E>())
    }
}
