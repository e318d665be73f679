//! Imports of mappings: who, when, from which file, and what came of it. `token` names the act by which
//! the audit rows of an import are found.

use sea_orm_migration::schema::{
    big_integer, big_integer_null, integer, string_len, string_len_null, text_null,
};

use crate::definition::{Definition, counting_key};
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(super) const MIGRATION: Migration = Migration::table("m1016_hostmatch_imports", names::IMPORTS, define);

fn define(_: &Dialect) -> Definition {
    Definition::new(names::IMPORTS)
        .column(counting_key("id"))
        .column(string_len("token", 36))
        .column(big_integer_null("company_id"))
        .column(string_len("file", 255))
        .column(integer("line_count"))
        .column(integer("changed"))
        .column(integer("failed"))
        .column(string_len("made_by", 255))
        .column(text_null("why"))
        .column(big_integer("at_ms"))
        .column(big_integer_null("ended_ms"))
        .column(string_len_null("undone_by", 255))
        .column(text_null("undone_why"))
        .column(big_integer_null("undone_ms"))
        .unique("unique_token", &["token"])
}
