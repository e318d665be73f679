//! Tests that both connections to RabbitMQ notice the end of an outage.

use std::time::Duration;

use super::faults::behind_a_proxy;
use super::fixture::WAIT_TIMEOUT;
use crate::support::eventually;
use crate::support::proxy::Mode;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_back_ends_the_wait_of_the_other() {
    let (fixture, proxy) = behind_a_proxy().await;
    proxy.set(Mode::Refuse);
    let publisher = fixture.queue.publisher();
    assert!(!publisher.is_ready());
    eventually("it has tried seven times", WAIT_TIMEOUT, async || (proxy.refused() >= 7).then_some(())).await;
    // The next of its delays, which double each time, is at least 6.4 s long.
    proxy.set(Mode::Pass);
    fixture.queue.depth().await.expect("the other connection is new, and has not waited");
    let limit = Duration::from_secs(6);
    eventually("the publisher is connected", limit, async || publisher.is_ready().then_some(())).await;
}
