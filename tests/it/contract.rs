//! The contract as documents: the checked-in files equal the program's output, the schemas agree with the
//! decoder, and the edge responds as its OpenAPI document says.

use std::path::PathBuf;

use hostmatch::contract;
use hostmatch::event::EVENT_TYPES;
use serde_json::Value;

use crate::edge::site::Site;
use crate::support::program::{command, hostmatch, json};

/// Returns every document by its name in `docs/schema`, and the arguments that print it.
fn documents() -> Vec<(String, Vec<String>, Value)> {
    let print =
        |rest: &[&str]| [&["schema", "print"], rest].concat().iter().map(ToString::to_string).collect();
    let mut all = vec![
        ("event.schema.json".to_owned(), print(&["json-schema"]), contract::event_schema()),
        ("asyncapi.json".to_owned(), print(&["asyncapi"]), contract::asyncapi("hostmatch")),
        ("openapi.json".to_owned(), print(&["openapi"]), contract::openapi()),
    ];
    all.extend(EVENT_TYPES.iter().map(|known| {
        let name = format!("{}.schema.json", known.name);
        (name, print(&["json-schema", "--type", known.name]), contract::event_type_schema(known))
    }));
    all
}

#[test]
fn the_checked_in_documents_equal_the_programs_output() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
    let mut wrong = String::new();
    let documents = documents();
    for (name, arguments, document) in &documents {
        let found = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let same = serde_json::from_str::<Value>(&found).is_ok_and(|found| found == *document);
        if !same {
            wrong += &format!("cargo run --all-features -- {} > docs/schema/{name}\n", arguments.join(" "));
        }
    }
    assert!(wrong.is_empty(), "docs/schema is not what the program prints; run\n\n{wrong}");
    let files = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, documents.len() + 1, "docs/schema must contain these documents and a README only");
}

#[tokio::test]
async fn a_running_edge_serves_its_document() {
    let site = Site::open().await;
    let response = site.get("/openapi.json").await;
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.json::<Value>().await.unwrap(), contract::openapi());
    site.close().await;
}

#[test]
fn the_program_prints_the_documents() {
    let arguments = ["schema", "print", "json-schema", "--type", "BOOKING_PAID"];
    assert_eq!(json(&hostmatch(&arguments))["title"], "BOOKING_PAID");
    let unknown = hostmatch(&["schema", "print", "json-schema", "--type", "MEETING_ENDED"]);
    assert_eq!(unknown.status.code(), Some(3));
    assert_eq!(hostmatch(&["schema", "print", "openapi", "--type", "BOOKING_PAID"]).status.code(), Some(2));
    let salon = command(&["schema", "print", "asyncapi", "--set", "queue.prefix=salon"]).output().unwrap();
    assert_eq!(json(&salon)["channels"]["events"]["title"], "salon.events");
}
