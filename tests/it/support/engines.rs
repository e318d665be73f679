//! A test for several engines has one case for each engine, so that `cargo test -- mariadb` runs those of one
//! engine, and the cases run in parallel.

/// Creates the cases of a function that takes a `Backend`, for all engines or for the named ones. `name`
/// becomes the tests `name::sqlite`, `name::mariadb` and `name::postgres`. With `fn` the function creates
/// its own runtime.
macro_rules! on_engines {
    ($name:ident) => {
        on_engines!($name: sqlite, mariadb, postgres);
    };
    ($name:ident: $($engine:ident),+) => {
        mod $name {
            $(
                // More threads than most machines have cores, so that races occur.
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
