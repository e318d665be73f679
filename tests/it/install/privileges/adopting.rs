//! The privileges that `gateway grants` prints suffice if our tables already exist, with the gateway's rows.

use crate::install::privileges::{gateway, grant, print_grants, run};
use crate::support::adopted::existing_tables;
use crate::support::{Backend, User};

on_engines!(the_printed_grants_suffice_to_adopt_tables_and_to_restore_them: mariadb, postgres);
async fn the_printed_grants_suffice_to_adopt_tables_and_to_restore_them(backend: Backend) {
    let [owner, inspector, migrator, restorer] = [
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
    grant(&test, &inspector, "inspect").await;
    let (code, text) = run(&test, &inspector, &["gateway", "inspect"]);
    assert_eq!(code, Some(10), "{test:?}: {text}");
    for word in ["READY", "adopt calcom_host_mappings\n", "adopt appointments.calcom_host_id"] {
        assert!(text.contains(word) && !text.contains("NOT READY"), "{test:?}: {word}: {text}");
    }
    grant(&test, &migrator, "migrate").await;
    let (code, text) = run(&test, &migrator, &["migrate", "up", "--adopt"]);
    assert_eq!(code, Some(0), "{test:?}: {text}");

    // PostgreSQL shows the journal to a user who may not read it: a finding must report that.
    let statements = print_grants(&test, &inspector, "inspect");
    let (journal, others): (Vec<_>, Vec<_>) =
        statements.into_iter().partition(|statement| statement.contains("hostmatch_journal"));
    assert_eq!(journal.len(), 1, "{test:?}");
    test.run(&others).await;
    if backend == Backend::Postgres {
        let (code, text) = run(&test, &inspector, &["gateway", "inspect"]);
        assert_eq!(code, Some(10), "{test:?}: {text}");
        for word in ["NOT READY", "lacks SELECT on hostmatch_journal", "gateway grants"] {
            assert!(text.contains(word), "{test:?}: {word}: {text}");
        }
    }
    test.run(&journal).await;
    let (_, text) = run(&test, &inspector, &["gateway", "inspect"]);
    assert!(text.contains("nothing: everything exists") && !text.contains("NOT READY"), "{test:?}: {text}");
    // This user gets the privileges for `down` only now. (On PostgreSQL only the owner may drop a table.)
    let user = if backend == Backend::Postgres { &migrator } else { &restorer };
    grant(&test, user, "migrate").await;
    let (code, text) = run(&test, user, &["migrate", "down", "--all", "--yes"]);
    assert_eq!(code, Some(0), "{test:?}: {text}");
    drop(test);
}
