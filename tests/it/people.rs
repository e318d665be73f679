//! What people decide: mappings, the inbox, repairs.

mod decisions;
pub(crate) mod rights;

use hostmatch::event::{CompanyId, HostId, StaffId};
use hostmatch::people::{Act, Author, Decided, Decision, Refusal, Wish, decide_now};

use crate::support::World;

/// Anna, as every audit row of hers names her.
pub(crate) fn anna() -> Act {
    Act::new(Author::new("cli:anna@office").unwrap())
}

/// The id of member of staff `n`, as this gateway has it.
pub(crate) fn staff_of(world: &World, n: u32) -> StaffId {
    match world.test.shape.has_uuids() {
        true => StaffId::Text(world.staff_id(n).trim_matches('\'').to_owned()),
        false => StaffId::Integer(n.into()),
    }
}

/// Anna decides about a host of company 1.
pub(crate) async fn decides(world: &World, host: i64, wish: Wish) -> Result<Decided, Refusal> {
    let decision = Decision { may_be_new: true, ..Decision::new(CompanyId(1), HostId(host), wish) };
    decides_on(world, decision).await
}

pub(crate) async fn decides_on(world: &World, decision: Decision) -> Result<Decided, Refusal> {
    let schema = world.test.schema().await;
    decide_now(&world.test.db, &schema, &anna(), &[decision]).await.unwrap().remove(0)
}
