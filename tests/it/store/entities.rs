//! Checks the entities: their columns equal those of the tables, and their relations are right, on every
//! engine and with every kind of key.

use std::collections::BTreeSet;

use hostmatch::event::{AppointmentId, StaffId};
use hostmatch::store::entity::{
    Present as _, appointment, assignment, booking_reference, dead_letter, dead_letter_action,
    dead_letter_action_letter, event, hand_over, host_lock, import, inbox, inbox_action, manual_assignment,
    mapping, mapping_audit, repair, repair_item, replay, replay_item, staff, worker,
};
use migration::gateway::Columns;
use sea_orm::{
    ColumnTrait as _, EntityTrait, IdenStatic as _, Iterable as _, LoaderTrait as _, ModelTrait as _,
};

use crate::support::{Backend, GatewayShape, TestDatabase, World, event, host, shapes};

/// Creates a salon in which Anna has had two bookings, and Boris one.
async fn salon(backend: Backend, shape: GatewayShape) -> World {
    let world = World::new(backend, shape).await;
    world.company(1).await;
    world.staff(11, 1, "Anna Berg", "anna@salon.example").await;
    world.staff(12, 1, "Boris Kraus", "boris@salon.example").await;
    for (id, reference, at, host) in [
        (101, "uid-1", 1, host(7, "Anna", "anna@salon.example")),
        (102, "uid-2", 2, host(7, "Anna", "anna@salon.example")),
        (103, "uid-3", 3, host(8, "Boris", "boris@salon.example")),
    ] {
        world.appointment(id, 1, reference).await;
        assert_eq!(world.outcome_of(event(reference, reference, at, host)).await, "assigned");
    }
    world
}

on_engines!(a_mapping_is_related_to_its_staff_and_its_audits);
async fn a_mapping_is_related_to_its_staff_and_its_audits(backend: Backend) {
    for shape in shapes() {
        let world = salon(backend, shape).await;
        let (db, schema) = (world.test.db.connection(), world.test.schema().await);
        let mappings = mapping::Entity::find().all(db).await.unwrap();
        assert_eq!(mappings.len(), 2, "{:?}", world.test);
        let named: Vec<StaffId> = mappings.iter().map(|mapping| mapping.staff_id.clone()).collect();

        for mapping in &mappings {
            let member = mapping.find_related(staff::Entity).present(&schema).one(db).await.unwrap();
            assert_eq!(member.unwrap().id, mapping.staff_id, "{:?}", world.test);
            let audits = mapping.find_related(mapping_audit::Entity).all(db).await.unwrap();
            assert_eq!(audits.len(), 1, "{:?}", world.test);
            assert_eq!(audits[0].staff_id.as_ref(), Some(&mapping.staff_id));
            assert!(audits[0].new_values.is_some() && audits[0].changed_at.is_some());
        }

        // Loads the relations of all rows at once, with one statement for each relation.
        let members = mappings.load_one(staff::Entity::find().present(&schema), db).await.unwrap();
        let members: Vec<StaffId> = members.into_iter().map(|member| member.unwrap().id).collect();
        assert_eq!(members, named, "{:?}", world.test);
        let audits = mappings.load_many(mapping_audit::Entity, db).await.unwrap();
        assert_eq!(audits.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1], "{:?}", world.test);
        let back = audits.concat().load_one(mapping::Entity, db).await.unwrap();
        assert_eq!(back.into_iter().flatten().collect::<Vec<_>>(), mappings, "{:?}", world.test);
    }
}

on_engines!(an_appointment_is_related_to_the_active_mapping);
async fn an_appointment_is_related_to_the_active_mapping(backend: Backend) {
    for shape in shapes() {
        let world = salon(backend, shape).await;
        let (db, schema) = (world.test.db.connection(), world.test.schema().await);
        // The same host has a deactivated mapping.
        let anna = world.staff_id(12);
        let off = format!(
            "INSERT INTO calcom_host_mappings (company_id, staff_id, calcom_host_id, calcom_name, \
             calcom_email, mapping_source, is_active) VALUES (1, {anna}, 7, '', '', 'manual', FALSE)"
        );
        world.run(&off).await;

        let found = appointment::Entity::find_by_id(AppointmentId(101)).present(&schema).one(db).await;
        let appointment = found.unwrap().unwrap();
        let mappings = appointment.find_related(mapping::Entity).all(db).await.unwrap();
        assert_eq!(mappings.len(), 1, "{:?}", world.test);
        assert_eq!(Some(mappings[0].calcom_host_id), appointment.calcom_host_id);
        assert_eq!(Some(&mappings[0].staff_id), appointment.staff_id.as_ref());

        let decided = appointment.find_related(assignment::Entity).one(db).await.unwrap().unwrap();
        let by = decided.find_related(mapping::Entity).one(db).await.unwrap();
        assert_eq!(by.as_ref(), mappings.first(), "{:?}", world.test);
    }
}

on_engines!(a_member_of_staff_is_related_to_appointments_and_mappings);
async fn a_member_of_staff_is_related_to_appointments_and_mappings(backend: Backend) {
    for shape in shapes() {
        let world = salon(backend, shape).await;
        let (db, schema) = (world.test.db.connection(), world.test.schema().await);
        let team = staff::Entity::find().present(&schema).all(db).await.unwrap();
        assert_eq!(team.len(), 2, "{:?}", world.test);

        let appointments = |of: &[appointment::Model]| {
            of.iter().map(|appointment| appointment.id.0).collect::<BTreeSet<_>>()
        };
        let (mut all, mut of_each) = (Vec::new(), Vec::new());
        for member in &team {
            let found = member.find_related(appointment::Entity).present(&schema).all(db).await.unwrap();
            of_each.push(appointments(&found));
            all.extend(member.find_related(mapping::Entity).all(db).await.unwrap());
            // The key is bound with the type with which it was read.
            let again = staff::Entity::find_by_id(member.id.clone()).present(&schema).one(db).await;
            assert_eq!(again.unwrap().as_ref(), Some(member), "{:?}", world.test);
        }
        of_each.sort();
        assert_eq!(of_each, [BTreeSet::from([101, 102]), BTreeSet::from([103])], "{:?}", world.test);
        assert_eq!(all.len(), 2, "{:?}", world.test);

        let select = appointment::Entity::find().present(&schema);
        let loaded = team.load_many(select, db).await.unwrap();
        let mut loaded: Vec<_> = loaded.iter().map(|of| appointments(of)).collect();
        loaded.sort();
        assert_eq!(loaded, of_each, "{:?}", world.test);
        assert_eq!(team.load_many(mapping::Entity, db).await.unwrap().concat().len(), 2);
    }
}

/// Returns an entity's table and columns, and which of these are nullable.
fn described<E: EntityTrait>() -> (String, Vec<(String, bool)>) {
    let columns = E::Column::iter().map(|column| (column.as_str().to_owned(), column.def().is_null()));
    (E::default().table_name().to_owned(), columns.collect())
}

on_engines!(an_entity_has_exactly_the_columns_of_its_table);
async fn an_entity_has_exactly_the_columns_of_its_table(backend: Backend) {
    let entities = [
        described::<mapping::Entity>(),
        described::<mapping_audit::Entity>(),
        described::<assignment::Entity>(),
        described::<booking_reference::Entity>(),
        described::<event::Entity>(),
        described::<inbox::Entity>(),
        described::<inbox_action::Entity>(),
        described::<dead_letter::Entity>(),
        described::<dead_letter_action::Entity>(),
        described::<dead_letter_action_letter::Entity>(),
        described::<replay::Entity>(),
        described::<replay_item::Entity>(),
        described::<import::Entity>(),
        described::<hand_over::Entity>(),
        described::<host_lock::Entity>(),
        described::<manual_assignment::Entity>(),
        described::<repair::Entity>(),
        described::<repair_item::Entity>(),
        described::<worker::Entity>(),
    ];
    let tables: BTreeSet<&str> = entities.iter().map(|(table, _)| table.as_str()).collect();
    assert_eq!(tables, BTreeSet::from(migration::TABLES), "each table of ours has an entity");
    for shape in shapes() {
        let test = TestDatabase::migrated(backend, shape).await;
        let found = Columns::read(test.db.connection()).await.unwrap();
        for (table, columns) in &entities {
            let wanted: BTreeSet<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            // The database computes this column for an index; the program does not read it.
            let there = found.in_table(table).filter(|column| column.name != "active_host_id");
            let there: BTreeSet<&str> = there.map(|column| column.name.as_str()).collect();
            assert_eq!(wanted, there, "{test:?}: {table}");
            for (name, may_be_null) in columns {
                let column = found.get(table, name).unwrap();
                let is_key = column.data_type == "integer" && name == "id";
                let fits = *may_be_null || !column.nullable || is_key;
                assert!(fits, "{test:?}: {table}.{name} may be NULL, and the entity's may not");
            }
        }
    }
}
