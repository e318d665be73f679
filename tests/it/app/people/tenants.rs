//! Runs every command with another company's ids: none may read or change that company's data.

use hostmatch::app::repair;
use hostmatch::event::{CompanyId, HostId};
use hostmatch::matching::HostKey;
use hostmatch::store::RepairScope;
use serde_json::json;

use super::decisions::create_salon;
use super::{context_of, read_for_json, run_for_json, staff_of};
use crate::support::{Backend, GatewayShape, event, host};

on_engines!(no_command_of_one_company_reaches_another_companys_data);
async fn no_command_of_one_company_reaches_another_companys_data(backend: Backend) {
    let world = create_salon(backend, GatewayShape::Live).await;
    // All of this belongs to company 2: hosts 7 and 8, staff 21 to 23, appointments 21 to 23.
    let boris = host(7, "boris kamm", "");
    world.send(&[event("e1", "B21", 1, boris.clone()), event("e2", "B22", 2, host(8, "N", ""))]).await;
    let theirs = staff_of(&world, 22).to_string();
    let accepted =
        run_for_json(&world, 0, &["inbox", "accept", "--company", "2", "--host", "7", "--repair", "all"]);
    let mapping = accepted["mapping"].to_string();
    let audit = accepted["audits"][0].to_string();
    let repair = accepted["repair"]["id"].to_string();
    // This booking of company 1 has the same host.
    world.send(&[event("e3", "B11", 1, boris)]).await;
    let ours = staff_of(&world, 11).to_string();
    let before = world.all_decided_rows().await;

    let assert_code = |code: i32, arguments: &[&str]| {
        let reported = run_for_json(&world, code, &[arguments, &["--company", "1"]].concat());
        assert!(!reported.to_string().contains(&theirs), "{backend:?} {arguments:?}: {reported}");
    };
    for what in ["deactivate", "reactivate"] {
        assert_code(3, &["mappings", what, &mapping]);
    }
    assert_code(3, &["mappings", "revert", &audit]);
    for (host, staff) in [("7", &theirs), ("7", &"nobody".to_owned()), ("8", &ours)] {
        let reported =
            run_for_json(&world, 3, &["mappings", "set", "--company", "1", "--host", host, "--staff", staff]);
        assert!(!reported.to_string().contains("Boris"), "{reported}");
    }
    for what in ["accept", "reopen"] {
        assert_code(3, &["inbox", what, "--host", "8"]);
    }
    assert_code(3, &["inbox", "ignore", "--host", "8", "--reason", "x"]);
    assert_code(3, &["inbox", "assign", "--host", "8", "--staff", &ours]);
    run_for_json(&world, 3, &["inbox", "accept", "--company", "1", "--host", "7", "--staff", &theirs]);
    run_for_json(&world, 3, &["inbox", "assign", "--company", "1", "--host", "7", "--staff", &theirs]);
    assert_code(3, &["repair", "apply", &repair]);
    assert_code(3, &["repair", "undo", &repair, "--yes"]);
    assert_code(6, &["repair", "apply", "--host", "7", "--yes"]);

    let assert_empty = |arguments: &[&str], list: &str| {
        let reported = read_for_json(&world, &[arguments, &["--company", "1"]].concat());
        assert_eq!(reported[list], json!([]), "{backend:?} {arguments:?}");
    };
    assert_empty(&["mappings", "list"], "mappings");
    assert_empty(&["audit", "list"], "audits");
    assert_empty(&["repair", "list"], "repairs");
    assert_empty(&["repair", "preview", "--host", "8"], "past");
    assert_empty(&["inbox", "list", "--host", "8"], "hosts");
    for arguments in [
        &["mappings", "show", &mapping][..],
        &["mappings", "history", &mapping],
        &["repair", "show", &repair],
        &["inbox", "show", "--host", "8"],
    ] {
        let output = super::run(&world, &[arguments, &["--company", "1"]].concat());
        assert_eq!(output.status.code(), Some(3), "{backend:?} {arguments:?}: {output:?}");
    }
    assert_eq!(world.all_decided_rows().await, before, "{backend:?}");
    assert_eq!(world.assigned(21).await, "22/7", "{backend:?}");
    // Use cases check the company themselves.
    let context = context_of(&world, CompanyId(1)).await;
    let key = HostKey::new(CompanyId(2), HostId(7));
    assert!(repair::preview(&context, key).await.is_err(), "{backend:?}");
    assert!(repair::begin(&context, key, RepairScope::All, None).await.is_err(), "{backend:?}");
}
