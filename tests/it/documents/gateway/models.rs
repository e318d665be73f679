//! The Eloquent models on every engine: two companies share a host, and neither sees the other's mapping.

use serde_json::{Value, json};

use super::php::Php;
use crate::support::{Backend, GatewayShape, World, event, host};

async fn check_models(backend: Backend, shape: GatewayShape) {
    let Some(mut php) = Php::application("hostmatch.events") else { return };
    let world = World::new(backend, shape).await;
    for company in [1, 2] {
        world.company(company).await;
        world.staff(company, company, "Mara Lind", "mara@salon.example").await;
        world.appointment(company, company, &format!("booking-{company}")).await;
    }
    world.appointment(3, 1, "nobody").await;
    for company in [1, 2] {
        let reference = format!("booking-{company}");
        world.outcome_of(event(&reference, &reference, 1, host(5, "Mara Lind", "mara@salon.example"))).await;
    }
    world.staff(3, 1, "Ines Roth", "ines@salon.example").await;
    php.set_database(&world.test);
    let reported: Value = serde_json::from_str(&php.run_successfully("models.php", &[]).await).unwrap();
    let id = |n: u32| json!(world.staff_id(n).trim_matches('\'')).to_string();
    let (first, second) = (id(1).replace('"', ""), id(2).replace('"', ""));
    assert_eq!(
        reported,
        json!({
            "loaded one by one": {"1": first, "2": second, "3": null},
            "loaded eagerly": {"1": first, "2": second, "3": null},
            "with a mapping": [1, 2],
            "with another company's mapping": [],
            "staff": {"appointments": [1], "mappings": 1},
            "audits": ["auto_matched"],
            "casts": [true, 95, "object"],
            "with an inactive mapping": null,
        }),
        "{backend:?}"
    );
}

#[tokio::test]
async fn on_sqlite() {
    check_models(Backend::Sqlite, GatewayShape::Roadmap).await;
}

#[tokio::test]
async fn on_mariadb() {
    check_models(Backend::MariaDb, GatewayShape::Roadmap).await;
}

#[tokio::test]
async fn on_postgresql_with_uuids() {
    check_models(Backend::Postgres, GatewayShape::Live).await;
}
