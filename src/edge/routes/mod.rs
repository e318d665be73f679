//! The handlers of the edge's routes.

mod webhooks;
mod events;
mod operation;

pub(super) use events::events;
pub(super) use operation::{live, openapi, ready};
pub(super) use webhooks::{calcom, retell};
