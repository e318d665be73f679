//! What the tests share: databases, brokers and names of their own, and waiting for a condition.

pub(crate) mod broker;
mod database;
mod gateway;
mod ledger;
pub(crate) mod mariadb;
mod process;
pub(crate) mod proxy;
mod report;
mod stack;
pub(crate) use user::User;
pub(crate) use world::{World, decide, event, host, settings_of};
