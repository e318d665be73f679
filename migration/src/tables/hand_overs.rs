//! Hand-overs: whose hosts and bookings went to whom, and which appointments that were. `token` names
//! the act by which the audit rows of the mappings are found.

use sea_orm_migration::schema::{big_integer, big_integer_null, string_len, string_len_null, text_null};

use crate::definition::{Definition, counting_key, typed};
use crate::dialect::Dialect;
use crate::migration::Migration;
use crate::names;

pub(super) const MIGRATION: Migration =
    Migration::table("m1017_hostmatch_hand_overs", names::HAND_OVERS, define);

fn define(d: &Dialect) -> Definition {
    Definition::new(names::HAND_OVERS)
        .column(counting_key("id"))
        .column(string_len("token", 36))
        .column(big_integer("company_id"))
        .column(typed("from_staff_id", &d.staff).not_null())
        .column(typed("to_staff_id", &d.staff).not_null())
        .column(big_integer("from_ms"))
        .column(typed("appointments", d.long_text()).not_null())
        .column(string_len("made_by", 255))
        .column(text_null("why"))
        .column(big_integer("at_ms"))
        .column(string_len_null("undone_by", 255))
        .column(text_null("undone_why"))
        .column(big_integer_null("undone_ms"))
        .unique("unique_token", &["token"])
        .index("idx_company", &["company_id", "id"])
}
