//! `down` restores adopted tables without losing a row: after an interruption and another `up`, and together with
//! the rows that the gateway has written since.

use migration::MigrateError;

use crate::migration::adopting::{gateway, of_gateway, same, state};
use crate::support::adopted::{Variant, gateway_continues, staff, variants};
use crate::support::{Backend, TestDatabase, World, event, host};

/// Checks that a booking of company 901 with this host, whom this address identifies, is assigned.
async fn assigned(world: &World, booking: u32, with: u32, email: &str) {
    world.appointment(booking, 901, &format!("bk-{booking}")).await;
    let sent = event(&format!("e-{booking}"), &format!("bk-{booking}"), 1, host(with, "", email));
    assert_eq!(world.outcome_of(sent).await, "assigned", "{booking}");
}

on_engines!(an_interrupted_down_and_another_up_lose_nothing: mariadb, postgres);
async fn an_interrupted_down_and_another_up_lose_nothing(backend: Backend) {
    // `left` is the number of migrations that `down` is asked to keep. If it is 1 (the mappings), they are
    // undone too, because mappings and audits are undone together. If it is 2, both of them stay.
    for (variant, left) in variants().into_iter().zip([1, 2, 1]) {
        let test = gateway(backend, variant).await;
        let all = u32::try_from(migration::status(test.db.connection()).await.unwrap().len()).unwrap();
        let steps = all - left;
        let what = format!("{backend:?}/{variant:?}/{steps}");
        let before = of_gateway(&state(&test).await);
        migration::adopt(test.db.connection()).await.unwrap();
        let world = World::in_database(test, &[]).await;
        // This supersedes one of the gateway's mappings, and hostmatch adds a mapping.
        assigned(&world, 9003, 5002, "omar@salon.example").await;
        let connection = world.test.db.connection();
        let going = migration::migrations_to_undo(connection, Some(steps)).await.unwrap();
        let mut taken = migration::down(connection, Some(steps)).await.unwrap();
        taken.reverse();
        assert_eq!(taken, going, "{what}");
        let expected = if left == 1 { all } else { steps };
        assert_eq!(taken.len(), expected as usize, "{what}: the mappings with their audits");
        if left == 1 {
            same(&what, &of_gateway(&state(&world.test).await), &before);
        }
        migration::adopt(connection).await.unwrap();
        assigned(&world, 9004, 5011, "jana@salon.example").await;
        assigned(&world, 9005, 5002, "omar@salon.example").await;
        migration::down(connection, None).await.unwrap();
        same(&what, &of_gateway(&state(&world.test).await), &before);
    }
}

on_engines!(mappings_the_gateway_has_activated_since_stay_active_and_the_rest_is_restored: mariadb, postgres);
async fn mappings_the_gateway_has_activated_since_stay_active_and_the_rest_is_restored(backend: Backend) {
    for variant in [Variant::Live, Variant::Plan] {
        let what = format!("{backend:?}/{variant:?}");
        let test = gateway(backend, variant).await;
        let found = "UPDATE calcom_host_mappings SET mapping_source = 'auto_name', confidence_score = 70 WHERE id = 2";
        test.run(&[found]).await;
        migration::adopt(test.db.connection()).await.unwrap();
        let world = World::in_database(test, &[]).await;
        // Lena's mapping is superseded by Omar's. When he leaves and she returns, a new match reactivates
        // hers.
        assigned(&world, 9003, 5002, "omar@salon.example").await;
        world.set_staff_active(902, false).await;
        world.set_staff_active(903, true).await;
        assigned(&world, 9004, 5002, "lena@salon.example").await;
        let lenas = "calcom_host_mappings WHERE id = 2";
        let columns = ["mapping_source", "confidence_score", "is_active"];
        let on = if backend == Backend::MariaDb { ["1", "0"] } else { ["true", "false"] };
        assert_eq!(world.rows(lenas, &columns).await, [format!("auto_email|95|{}", on[0])], "{what}");
        // Meanwhile the gateway maps the host to Jana.
        let theirs = gateway_continues(backend, variant).remove(0);
        let theirs =
            theirs.replace("902, ", "NULL, ").replace(&staff(904), &staff(901)).replace("5101", "5002");
        world.test.run(&[theirs]).await;

        migration::down(world.test.db.connection(), None).await.unwrap();
        assert_eq!(world.rows(lenas, &columns).await, [format!("auto_name|70|{}", on[1])], "{what}");
        let host = "calcom_host_mappings WHERE calcom_host_id = 5002";
        let rows = world.rows(host, &["staff_id", "is_active"]).await;
        assert_eq!(rows, [format!("901|{}", on[0]), format!("903|{}", on[1])], "{what}");
    }
}

/// Returns the SQL that restricts `mapping_source` to the gateway's own values.
pub(crate) fn narrow(backend: Backend) -> Vec<String> {
    let mut sql = vec![
        "UPDATE calcom_host_mappings SET mapping_source = 'manual' WHERE mapping_source = 'auto_email'"
            .to_owned(),
    ];
    sql.push(match backend {
        Backend::MariaDb => "ALTER TABLE calcom_host_mappings MODIFY mapping_source \
                             ENUM('auto_name', 'manual', 'admin') NOT NULL"
            .to_owned(),
        _ => "ALTER TABLE calcom_host_mappings DROP CONSTRAINT calcom_host_mappings_mapping_source_check, \
              ADD CONSTRAINT known CHECK (mapping_source IN ('auto_name', 'manual', 'admin'))"
            .to_owned(),
    });
    sql
}

pub(crate) fn mapped(host: u32, name: &str, source: &str) -> String {
    format!(
        "INSERT INTO calcom_host_mappings (staff_id, calcom_host_id, calcom_name, calcom_email, mapping_source) \
         VALUES ({}, {host}, '{name}', '', '{source}')",
        staff(901)
    )
}

pub(crate) async fn refused(test: &TestDatabase, words: &[&str]) {
    let before = state(test).await;
    let error = migration::down(test.db.connection(), None).await.unwrap_err();
    assert!(matches!(error, MigrateError::Obstacles(_)), "{test:?}: {error}");
    let text = error.to_string();
    assert!(text.contains("nothing was changed"), "{test:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{test:?}: {word}: {text}");
    }
    same(&format!("{test:?}"), &state(test).await, &before);
}

on_engines!(a_row_that_does_not_fit_the_old_shape_is_reported_and_no_row_is_lost: mariadb, postgres);
async fn a_row_that_does_not_fit_the_old_shape_is_reported_and_no_row_is_lost(backend: Backend) {
    let test = gateway(backend, Variant::Live).await;
    test.run(&narrow(backend)).await;
    let before = of_gateway(&state(&test).await);
    migration::adopt(test.db.connection()).await.unwrap();
    let world = World::in_database(test, &[]).await;
    // Our mappings have a source that the old shape does not know: they are removed, and do not prevent
    // `down`.
    assigned(&world, 9003, 5002, "omar@salon.example").await;
    let test = world.test;
    let audit =
        "INSERT INTO calcom_host_mapping_audits (mapping_id, action, reason) VALUES (1, 'imported', 'x')";
    test.run(&[mapped(6001, "From A List", "import"), audit.to_owned()]).await;
    let id = test.number("SELECT MAX(id) FROM calcom_host_mappings").await;
    let words = ["calcom_host_mappings.mapping_source holds", &format!("id {id}\n"), "audits.action holds"];
    refused(&test, &words).await;
    test.run(&[
        "UPDATE calcom_host_mappings SET mapping_source = 'admin' WHERE mapping_source = 'import'",
        "UPDATE calcom_host_mapping_audits SET action = 'created' WHERE action = 'imported'",
    ])
    .await;
    let long = "x".repeat(201);
    test.run(&[format!("UPDATE calcom_host_mapping_audits SET reason = '{long}' WHERE reason = 'x'")]).await;
    refused(&test, &["audits.reason holds", "200"]).await;
    test.run(&[format!("UPDATE calcom_host_mapping_audits SET reason = 'y' WHERE reason = '{long}'")]).await;
    migration::down(test.db.connection(), None).await.unwrap();
    let after = of_gateway(&state(&test).await);
    let less: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    let more: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    assert!(less.is_empty() && more.len() == 2, "{backend:?}: lost {less:#?}, found {more:#?}");

    let test = gateway(backend, Variant::Bare).await;
    migration::adopt(test.db.connection()).await.unwrap();
    test.run(&[mapped(6001, &"x".repeat(101), "manual")]).await;
    refused(&test, &["calcom_host_mappings.calcom_name holds", "100", "id 6\n"]).await;
    test.run(&["UPDATE calcom_host_mappings SET calcom_name = 'x' WHERE id = 6"]).await;
    migration::down(test.db.connection(), None).await.unwrap();
    assert_eq!(test.count("calcom_host_mappings").await, 6, "{backend:?}");
}
