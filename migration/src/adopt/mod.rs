//! Adopts our tables and our column if the gateway's own migrations created them: brings them to our shape,
//! by additions wherever possible, and `down` restores them.

mod alter;
mod audits;
mod existing;
mod keys;
mod mappings;
mod obstacles;

use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr};

use crate::catalog::{number, relations};
use crate::dialect::Dialect;
use crate::examination::{Adoption, Examination, Obstacle};
use crate::gateway::Columns;
use crate::migration::{Migration, Op, Planned};
use crate::tables::{AUDITS, CALCOM_HOST_ID, MAPPINGS, calcom_host_id_index};
use existing::{ExistingTable, copy_of};

pub(crate) use obstacles::find_late;

/// The migrations whose tables the gateway may have created. Their statements are kept when anything is
/// adopted: they are the only record of the shape that was found.
pub(crate) const ADOPTABLE: [&str; 3] = [MAPPINGS.name, AUDITS.name, CALCOM_HOST_ID.name];

/// Only the audits record which changes to a mapping are ours, so adopted mappings are restored before the
/// audits are dropped. Both are always undone together: otherwise the shape that was found would be lost.
pub(crate) const UNDONE_AS_A_PAIR: [&str; 2] = [MAPPINGS.name, AUDITS.name];

/// Those tables and that column of these migrations that already exist.
#[derive(Default)]
struct Existing {
    mappings: Option<ExistingTable>,
    audits: Option<ExistingTable>,
    column: bool,
}

impl Existing {
    fn any(&self) -> bool {
        self.mappings.is_some() || self.audits.is_some() || self.column
    }
}

/// Returns the changes of these migrations here, and whether they adopt anything. Adds adoptions and
/// obstacles to the examination; with obstacles, the changes must not be made.
pub(crate) async fn plan<C: ConnectionTrait>(
    connection: &C,
    pending: &[Migration],
    columns: &Columns,
    examination: &mut Examination,
) -> Result<(Vec<Planned>, bool), DbErr> {
    let d = Dialect::of(columns);
    let there = find(connection, pending, columns, examination).await?;
    if d.backend == DbBackend::Sqlite && there.any() {
        examination.obstacles.push(Obstacle::new(
            "on SQLite nothing can be adopted: its ALTER TABLE cannot change a table's shape",
            "rename what exists; hostmatch creates its own",
        ));
    }
    let mut wrong = Vec::new();
    for found in [&there.mappings, &there.audits].into_iter().flatten() {
        wrong.extend(obstacles::check_shape(found, columns));
        wrong.extend(keys::of(found));
    }
    if there.column {
        wrong.extend(obstacles::check_column(columns));
    }
    if wrong.is_empty() && d.backend != DbBackend::Sqlite {
        if let Some(found) = &there.mappings {
            wrong.extend(obstacles::check_mappings(connection, found, columns, &d).await?);
        }
        if there.audits.is_some() {
            let mappings = columns.has_table(mappings::TABLE);
            wrong.extend(obstacles::check_audits(connection, mappings, &d).await?);
        }
    }
    let has_obstacles = !wrong.is_empty() || !examination.obstacles.is_empty();
    examination.obstacles.extend(wrong);

    let mut planned = Vec::new();
    for migration in pending {
        let adopted = match &there {
            Existing { mappings: Some(found), .. } if migration.name == MAPPINGS.name => {
                Some(mappings::plan(found, columns, &d))
            }
            Existing { audits: Some(found), .. } if migration.name == AUDITS.name => {
                Some(audits::plan(found, columns, &d))
            }
            Existing { column: true, .. } if migration.name == CALCOM_HOST_ID.name => {
                Some(adopt_column(connection, &d).await?)
            }
            _ => None,
        };
        let ops = adopted.map_or_else(
            || migration.ops(&d),
            |(ops, differences)| {
                examination.adoptions.push(Adoption { what: migration.created(), differences });
                ops
            },
        );
        planned.push(Planned { migration: migration.name, ops });
    }
    if there.any() && !has_obstacles {
        finish(&mut planned, &there, examination, &d);
    }
    if pending.iter().any(|migration| migration.name == CALCOM_HOST_ID.name) && !d.room_for_index {
        let note = "appointments has as many indexes as MySQL allows (64): appointments.calcom_host_id gets none. \
                    hostmatch never queries appointments by their host";
        examination.notes.push(note.into());
    }
    Ok((planned, there.any()))
}

/// Adds what concerns the adoption as a whole: restoring the rows while the audits still record which changes
/// are ours, and a record of the adoption. Both belong to the last migration that can carry them.
fn finish(planned: &mut [Planned], there: &Existing, examination: &Examination, d: &Dialect) {
    let adopted: Vec<&str> = examination.adoptions.iter().map(|adoption| adoption.what.as_str()).collect();
    let changes: usize = examination.adoptions.iter().map(|adoption| adoption.differences.len()).sum();
    let text = format!(
        "adopted: {}; {changes} differences were removed; migrate down restores them",
        adopted.join(", ")
    );
    let last = [AUDITS.name, CALCOM_HOST_ID.name]
        .into_iter()
        .find_map(|name| planned.iter().position(|one| one.migration == name));
    let Some(last) = last else { return };
    if let Some(found) = &there.mappings {
        let ours = audits::written_by_us(there.audits.as_ref());
        planned[last].ops.extend(mappings::restore(found, d, &ours));
        let own = planned.iter_mut().find(|one| one.migration == MAPPINGS.name);
        if let Some(own) = own {
            own.ops.splice(1..1, mappings::prechecks(found, d, &ours));
        }
    }
    planned[last].ops.push(audits::record(d, &text));
}

async fn find<C: ConnectionTrait>(
    connection: &C,
    pending: &[Migration],
    columns: &Columns,
    examination: &mut Examination,
) -> Result<Existing, DbErr> {
    let mut there = Existing::default();
    let tables = pending.iter().filter(|migration| migration.added_column().is_none());
    let mut names: Vec<String> = tables.map(|migration| migration.table_of().to_owned()).collect();
    // The tables for the original rows. They may exist only once their migration is applied.
    let adoptable = |name: &str| [mappings::TABLE, audits::TABLE].contains(&name);
    let kept: Vec<String> = names.iter().filter(|name| adoptable(name)).map(|name| copy_of(name)).collect();
    names.extend(kept);
    for (name, is_table) in relations(connection, &names).await? {
        if is_table && adoptable(&name) {
            let place = if name == mappings::TABLE { &mut there.mappings } else { &mut there.audits };
            *place = Some(ExistingTable::read(connection, &name).await?);
            continue;
        }
        let kind = if is_table { "the table" } else { "a view, or a table that does not use InnoDB," };
        examination.obstacles.push(Obstacle::new(
            format!("{kind} {name} exists, and hostmatch did not create it"),
            "rename it (RENAME TABLE), and prevent its creator from creating it again",
        ));
    }
    there.column = columns.has("appointments", "calcom_host_id")
        && pending.iter().any(|migration| migration.name == CALCOM_HOST_ID.name);
    Ok(there)
}

/// Adopts the column as it is, and adds the index if it is missing and the table can take one.
async fn adopt_column<C: ConnectionTrait>(
    connection: &C,
    d: &Dialect,
) -> Result<(Vec<Op>, Vec<String>), DbErr> {
    // Even if nothing has to be done, the journal gets an entry: otherwise `down` would treat the column as
    // ours and drop it.
    let mut ops = vec![Op::default()];
    let is_indexed = if d.is_mysql() {
        // The catalogue shows the index to every user who may read the column; SHOW CREATE TABLE needs more.
        number(connection, MYSQL_INDEXES).await? > 0
    } else {
        ExistingTable::read(connection, "appointments").await?.has_index(&["calcom_host_id"])
    };
    let index = calcom_host_id_index(d).filter(|_| !is_indexed);
    let said = index.iter().map(|_| "there is no index: one will be added".to_owned()).collect();
    ops.extend(index);
    Ok((ops, said))
}

const MYSQL_INDEXES: &str = "SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() \
     AND table_name = 'appointments' AND column_name = 'calcom_host_id' AND seq_in_index = 1";
