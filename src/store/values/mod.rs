//! Encodes and decodes values whose column types differ between engines.
//!
//! The same key may be BIGINT UNSIGNED, INTEGER, CHAR(36) or a native UUID, and no single Rust type can read
//! them all: `i64` cannot read BIGINT UNSIGNED, `u64` exists only on MySQL. So ids are read according to
//! their column. An id that was read keeps its kind and is bound with it; an id that a person wrote is first
//! converted to the kind that [`GatewaySchema`] found ([`StaffId::of_kind`](crate::event::StaffId::of_kind)).
//!
//! [`GatewaySchema`]: super::GatewaySchema

mod integer;
mod staff;
mod newtypes;
mod text;

pub use integer::DbId;
pub use newtypes::{Document, Moment};
pub use staff::bind_staff;
