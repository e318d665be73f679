//! The rights that `gateway grants` prints suffice if our tables already exist, with the gateway's rows.

use crate::install::privileges::{gateway, grant, print_grants, run};
use crate::support::adopted::existing_tables;
use crate::support::{Backend, User};

on_engines!(the_printed_rights_suffice_to_adopt_and_give_back: mariadb, postgres);
async fn the_printed_rights_suffice_to_adopt_and_give_back(backend: Backend) {
    let [owner, inspects, migrates, takes_back] = [
        User::new(backend).await,
        User::new(backend).await,
        User::new(backend).await,
        User::new(backend).await,
    ];
    let test = gateway(backend, &owner).await;
    test.run(&existing_tables(backend)).await;
    if backend == Backend::Postgres {
        for table in ["calcom_host_mappings", "calcom_host_mapping_audits"] {
            test.run(&[format!("ALTER TABLE {table} OWNER TO {}", owner.quoted())]).await;
        }
    }
    grant(&test, &inspects, "inspect").await;
    let (code, text) = run(&test, &inspects, &["gateway", "inspect"]);
    assert_eq!(code, Some(10), "{test:?}: {text}");
    for word in ["READY", "adopt calcom_host_mappings\n", "adopt appointments.calcom_host_id"] {
        assert!(text.contains(word) && !text.contains("NOT READY"), "{test:?}: {word}: {text}");
    }
    grant(&test, &migrates, "migrate").await;
    let (code, text) = run(&test, &migrates, &["migrate", "up", "--adopt"]);
    assert_eq!(code, Some(0), "{test:?}: {text}");

    // PostgreSQL shows the journal to a user without the right to read it: that must be corrected.
    let statements = print_grants(&test, &inspects, "inspect");
    let (journal, others): (Vec<_>, Vec<_>) =
        statements.into_iter().partition(|statement| statement.contains("hostmatch_journal"));
    assert_eq!(journal.len(), 1, "{test:?}");
    test.run(&others).await;
    if backend == Backend::Postgres {
        let (code, text) = run(&test, &inspects, &["gateway", "inspect"]);
        assert_eq!(code, Some(10), "{test:?}: {text}");
        for word in ["NOT READY", "lacks SELECT on hostmatch_journal", "gateway grants"] {
            assert!(text.contains(word), "{test:?}: {word}: {text}");
        }
    }
    test.run(&journal).await;
    let (_, text) = run(&test, &inspects, &["gateway", "inspect"]);
    assert!(text.contains("nothing: everything exists") && !text.contains("NOT READY"), "{test:?}: {text}");
    // This user gets the rights for `down` only now. (On PostgreSQL only the owner may drop a table.)
    let back = if backend == Backend::Postgres { &migrates } else { &takes_back };
    grant(&test, back, "migrate").await;
    let (code, text) = run(&test, back, &["migrate", "down", "--all", "--yes"]);
    assert_eq!(code, Some(0), "{test:?}: {text}");
    drop(test);
}
