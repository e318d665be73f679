//! `hostmatch inbox`, `mappings`, `repair` and `audit`: what people decide, and who decided what.

mod named;
mod told;
mod repairing;
mod deciding;
mod mapping_rows;
mod trail;
mod inbox_rows;
pub(super) mod mappings;
pub(super) mod inbox;
pub(super) mod repair;
pub(super) mod audit;

use super::global::Global;
use super::output::Output;
use super::{Failure, gateway};
use crate::store::{Database, GatewaySchema};

/// Where these commands work.
struct Desk {
    output: Output,
    database: Database,
    schema: GatewaySchema,
}

impl Desk {
    /// Opens the gateway's database, to write in or only to look at.
    async fn open(global: &Global, only_looks: bool) -> Result<Self, Failure> {
        let config = global.start(&[])?.config;
        let (database, schema) = match only_looks {
            true => gateway::open(&config).await?,
            false => gateway::open_to_write(&config).await?,
        };
        Ok(Self { output: global.output, database, schema })
    }
}
