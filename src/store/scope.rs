//! Which companies somebody may see and change. It stands in the WHERE clause of each query, never in a filter
//! over what was read.

use sea_orm::ColumnTrait;
use sea_orm::sea_query::Condition;

use super::prelude::*;
use crate::event::CompanyId;

/// The companies whose rows a query may give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every company, and rows that belong to none.
    All,
    /// These only.
    Companies(Vec<CompanyId>),
}

impl Scope {
    /// One company, or all where none is given.
    pub fn of(company: Option<CompanyId>) -> Self {
        company.map_or(Self::All, |company| Self::Companies(vec![company]))
    }

    /// The one company that it is.
    pub fn only(&self) -> Option<CompanyId> {
        match self {
            Self::Companies(companies) if companies.len() == 1 => companies.first().copied(),
            Self::All | Self::Companies(_) => None,
        }
    }

    /// Whether rows of this company are in it.
    pub fn contains(&self, company: CompanyId) -> bool {
        match self {
            Self::All => true,
            Self::Companies(companies) => companies.contains(&company),
        }
    }

    /// What the column that holds a row's company must meet.
    pub fn condition(&self, column: impl ColumnTrait) -> Condition {
        self.condition_of(Expr::col(column.as_column_ref()))
    }

    /// What an expression that gives a row's company must meet.
    pub fn condition_of(&self, company: Expr) -> Condition {
        match self {
            Self::All => Condition::all(),
            Self::Companies(companies) => Condition::all().add(company.is_in(companies.iter().copied())),
        }
    }
}
