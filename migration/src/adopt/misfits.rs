//! Rows that the shape which was found could not hold again: looked for before anything is taken back,
//! so that none is lost. They can only be the gateway's; those of hostmatch go, and what it changed is
//! given back first.

use super::alter::{type_length, width};
use super::existing::ExistingTable;
use crate::dialect::Dialect;
use crate::op::Op;

/// A question for each of these columns that holds less in its old shape than in ours. `leaves` is a
/// condition on rows that are gone, or whose column is given back, by then. To be put before the changes
/// of the table: on the way back it is there until they are undone.
pub(super) fn ops(
    found: &ExistingTable,
    d: &Dialect,
    columns: &[&str],
    leaves: impl Fn(&str) -> String,
) -> Vec<Op> {
    let table = &found.table;
    let id = if d.is_mysql() { "CAST(id AS SIGNED)" } else { "id::bigint" };
    let ask = |name: &str, (shape, fits): (String, String)| {
        let what = format!("{table}.{name} holds what its old shape cannot: {shape}").replace('\'', "''");
        Op::question(
            &format!("SELECT {id} AS id, '{what}' AS what FROM {table} WHERE NOT ({fits})"),
            // Of a row that does not say whose it is the answer would be NULL: it is the gateway's.
            &format!("AND NOT COALESCE(({}), FALSE)", leaves(name)),
        )
    };
    columns
        .iter()
        .flat_map(|name| shapes(found, d, name).into_iter().map(move |one| ask(name, one)))
        .collect()
}

/// Each old limit of a column, in words and as a condition on what fits.
fn shapes(found: &ExistingTable, d: &Dialect, name: &str) -> Vec<(String, String)> {
    let Some(column) = found.column(name) else { return Vec::new() };
    let definition = &column.definition;
    if column.is_enum {
        return vec![if d.is_mysql() {
            let kind = &definition[..type_length(definition)];
            (kind.to_owned(), format!("CAST({name} AS CHAR) IN {}", &kind["enum".len()..]))
        } else {
            let known = format!("SELECT e::text FROM unnest(enum_range(NULL::{definition})) e");
            (definition.clone(), format!("{name} IN ({known})"))
        }];
    }
    let checks = found.checks.iter().filter(|check| check.columns == [name]);
    let mut shapes: Vec<(String, String)> = checks
        .map(|check| {
            let condition = check.definition.trim_start_matches("CHECK ").trim_end_matches(" NOT VALID");
            (check.name.clone(), condition.to_owned())
        })
        .collect();
    if let Some(width) = width(definition) {
        shapes.push((definition.clone(), format!("CHAR_LENGTH({name}) <= {width}")));
    }
    shapes
}
