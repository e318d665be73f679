//! A test that runs on several engines is one case for each: `cargo test -- mariadb` runs those of one, and
//! they run beside each other.

/// Makes the cases of a function that takes a `Backend`: on all engines, or on those that are named.
/// `name` becomes the tests `name::sqlite`, `name::mariadb` and `name::postgres`. With `fn` the function
/// makes a runtime of its own.
macro_rules! on_engines {
    ($name:ident) => {
        on_engines!($name: sqlite, mariadb, postgres);
    };
    ($name:ident: $($engine:ident),+) => {
        mod $name {
            $(
                // More threads than most machines have cores, so that what is to race does.
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $engine() {
                    Box::pin(super::$name(on_engines!(@ $engine))).await;
                }
            )+
        }
    };
    (fn $name:ident) => {
        on_engines!(fn $name: sqlite, mariadb, postgres);
    };
    (fn $name:ident: $($engine:ident),+) => {
        mod $name {
            $(
                #[test]
                fn $engine() {
                    super::$name(on_engines!(@ $engine));
                }
            )+
        }
    };
    (@ sqlite) => {
        $crate::support::Backend::Sqlite
    };
    (@ mariadb) => {
        $crate::support::Backend::MariaDb
    };
    (@ postgres) => {
        $crate::support::Backend::Postgres
    };
}
