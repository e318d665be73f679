//! Tests findings about an edge on another machine.

use super::Installation;
use crate::support::Backend;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_edge_is_checked_with_the_requests_of_its_callers() {
    let mut installation = Installation::embedded(Backend::Sqlite).await;
    let (mut edge, url) = installation.stack.edge("edge").await;
    let report = installation.doctor(&["--edge", &url]);
    assert_eq!((report.code, report.codes()), (Some(0), vec![]), "{:#}", report.json);
    assert!(report.json["passed"].as_array().unwrap().contains(&"edge_not_ready".into()));
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
    installation
        .doctor(&["--edge", &url])
        .finds("edge_unreachable", &url, "/health/live")
        .only(&["edge_unreachable"]);
    installation.doctor(&["--edge", "hooks.example"]).finds("edge_unreachable", "--edge", "URL");

    // The edge's queue is unreachable: the edge responds, and accepts events into its spool.
    installation.set("queue.url", "amqp://guest:hush@127.0.0.1:1");
    let (mut edge, url) = installation.stack.edge("edge").await;
    installation.set("queue.url", installation.stack.config.url.expose().to_owned().as_str());
    let report = installation.doctor(&["--edge", &url]);
    report.finds("edge_not_ready", &url, "log").only(&["edge_not_ready"]);
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
}
