//! Limits queries to the companies that the caller may see and change. The limit is part of each query's
//! WHERE clause, never a filter over its result.

use sea_orm::ColumnTrait;
use sea_orm::sea_query::Condition;

use super::prelude::*;
use crate::event::CompanyId;

/// The companies whose rows a query may return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every company, and rows that belong to none.
    All,
    /// The rows of these companies only.
    Companies(Vec<CompanyId>),
}

impl Scope {
    /// Returns the scope of this company; of all companies for `None`.
    pub fn of(company: Option<CompanyId>) -> Self {
        company.map_or(Self::All, |company| Self::Companies(vec![company]))
    }

    /// Returns the company if the scope has exactly one.
    pub fn only(&self) -> Option<CompanyId> {
        match self {
            Self::Companies(companies) if companies.len() == 1 => companies.first().copied(),
            Self::All | Self::Companies(_) => None,
        }
    }

    /// Returns whether the scope includes this company.
    pub fn contains(&self, company: CompanyId) -> bool {
        match self {
            Self::All => true,
            Self::Companies(companies) => companies.contains(&company),
        }
    }

    /// Returns the condition on the column that holds a row's company.
    pub fn condition(&self, column: impl ColumnTrait) -> Condition {
        self.condition_of(Expr::col(column.as_column_ref()))
    }

    /// Returns the condition on an expression for a row's company.
    pub fn condition_of(&self, company: Expr) -> Condition {
        match self {
            Self::All => Condition::all(),
            Self::Companies(companies) => Condition::all().add(company.is_in(companies.iter().copied())),
        }
    }
}
