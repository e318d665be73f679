//! Values that encode and decode themselves, whatever the engine keeps them as.
//!
//! The same key is BIGINT UNSIGNED here, INTEGER there, CHAR(36) or a native UUID elsewhere, and
//! no single Rust type can read them all: `i64` cannot read BIGINT UNSIGNED, `u64` exists on
//! MySQL alone. So ids are read as the column says. What was read carries its kind with it, and is bound
//! as what it is; what people write is first made a key of the kind that [`GatewaySchema`] found
//! ([`StaffId::of_kind`](crate::event::StaffId::of_kind)).
//!
//! [`GatewaySchema`]: super::GatewaySchema

mod integer;
mod staff;
mod kept;
mod text;

pub use integer::DbId;
pub use kept::{Document, Moment};
pub use staff::bind_staff;
