//! The name of a database engine on the command line, for commands that work without a database.

use clap::ValueEnum;
use sea_orm::DbBackend;

/// One of those that hostmatch works on.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Engine {
    #[value(alias = "mariadb")]
    Mysql,
    Postgres,
    Sqlite,
}

impl From<Engine> for DbBackend {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Mysql => Self::MySql,
            Engine::Postgres => Self::Postgres,
            Engine::Sqlite => Self::Sqlite,
        }
    }
}
