//! The server's SQL mode affects neither our decisions nor the rows that we write.

use serde_json::json;

use crate::support::mariadb::MariaDb;
use crate::support::{Backend, GatewayShape, TestDatabase, UpdatedAt, World, event, host};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_sql_mode_changes_nothing() {
    let Some(server) = MariaDb::start_in("Europe/Berlin").await else { return };
    let mut rows = Vec::new();
    for mode in [
        "STRICT_TRANS_TABLES",
        "",
        "TRADITIONAL",
        "ANSI,ONLY_FULL_GROUP_BY,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH",
        "NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_UNSIGNED_SUBTRACTION,HIGH_NOT_PRECEDENCE",
        "ORACLE,EMPTY_STRING_IS_NULL",
        "SIMULTANEOUS_ASSIGNMENT,TIME_ROUND_FRACTIONAL,NO_AUTO_VALUE_ON_ZERO",
    ] {
        // The gateway's own tables keep the mode in which it created them.
        server.set("sql_mode = ''").await;
        let shape = GatewayShape::Production(UpdatedAt::Local);
        let test = TestDatabase::fresh_on(server.url(), Backend::MariaDb, shape).await;
        test.run(&[
            "ALTER TABLE appointments MODIFY starts_at DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00'",
        ])
        .await;
        server.set(&format!("sql_mode = '{mode}'")).await;
        let test = test.reconnected().await;
        migration::up(test.db.connection()).await.unwrap();
        let world = World::in_database(test, &[]).await;
        world.company(1).await;
        world.staff(1, 1, "Frida Spitz", "frida@salon.example").await;
        world.staff(2, 1, "Boris Kamm", "boris@salon.example").await;
        for id in 1..=6 {
            world.appointment(id, 1, &format!("B{id}")).await;
        }
        let frida = || host(1001, "Frida \\ \"Spitz\" O'Hara", "frida@salon.example");
        world
            .send(&[
                event("e1", "B1", 1, frida()),
                event("e2", "B2", 1, host(3003, "boris kamm", "b@elsewhere.example")),
                event(
                    "e3",
                    "B3",
                    1,
                    json!([{ "id": 4004, "name": "", "email": "boris@salon.example", "username": "" }]),
                ),
                event("e4", "B4", 1, host(5005, "Nobody", "nobody@elsewhere.example")),
                event("e5", "B5", 1, json!([])),
            ])
            .await;
        world.send(&[event("e6", "B1", 2, host(4004, "B", "boris@salon.example"))]).await;
        world.send(&[event("e7", "B6", 2, frida()), event("e8", "B1", 1, frida())]).await;
        rows.push((mode, world.all_decided_rows().await));
    }
    let (_, expected) = &rows[0];
    assert_eq!(expected["hostmatch_events"].len(), 8, "{expected:?}");
    for (mode, found) in &rows {
        assert_eq!(found, expected, "{mode}");
    }
}
