//! Imports that nearly every file of the store needs to build its statements, most of them from sea-orm.

pub(super) use sea_orm::sea_query::{
    CaseStatement, Cond, Expr, ExprTrait as _, Order, Query, SelectStatement,
};
pub(super) use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbBackend, DerivePartialModel, EntityName as _, EntityTrait as _,
    IdenStatic as _, Iterable as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
    Select, Set,
};

pub(super) use super::error::Result;
