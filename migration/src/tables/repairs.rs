//! A repair: after a person's decision, the waiting appointments of a host get their member of staff,
//! and may be given back. One row for each.

use sea_orm_migration::schema::{
    big_integer, big_integer_null, integer, string_len, string_len_null, text_null,
};

use crate::definition::{Definition, counting_key, typed};
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(super) const MIGRATION: Migration = Migration::table("m1014_hostmatch_repairs", names::REPAIRS, define);

fn define(d: &Dialect) -> Definition {
    Definition::new(names::REPAIRS)
        .column(counting_key("id"))
        .column(string_len("token", 36))
        .column(big_integer("company_id"))
        .column(integer("host_id"))
        .column(typed("staff_id", &d.staff).not_null())
        .column(string_len("scope", 16))
        .column(string_len("state", 16))
        .column(integer("total"))
        .column(string_len("made_by", 255))
        .column(text_null("why"))
        .column(big_integer("created_ms"))
        .column(big_integer_null("ended_ms"))
        .column(string_len_null("undone_by", 255))
        .column(text_null("undone_why"))
        .column(big_integer_null("undone_ms"))
        .unique("unique_token", &["token"])
        .index("idx_host", &["company_id", "host_id", "id"])
}
