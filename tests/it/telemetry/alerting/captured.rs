//! Tests the roadmap's four targets on metrics of a real edge and a real worker: valid bookings, then
//! invalid ones, then valid ones again. The metrics at the end of each stage are replayed to Prometheus'
//! rule tester, with simulated hours between the stages.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::exposition::Exposition;
use super::{RULES, path, promtool, read};
use crate::support::{Backend, GatewayShape, Process, Scrape, Stack, event, host};

/// Minutes between two samples in simulated time.
const STEP: u32 = 10;
/// Simulated length of the stages, in hours: valid, invalid, valid.
const HOURS: [u32; 3] = [26, 3, 30];

const TARGETS: [&str; 4] = [
    "HostmatchAssignmentRateLow",
    "HostmatchUnmatchedHigh",
    "HostmatchHostsMissing",
    "HostmatchErrorRateHigh",
];

/// A salon with a real edge and a real worker.
pub(super) struct MonitoredStack {
    stack: Stack,
    edge: Process,
    worker: Process,
    /// The edge's address for events.
    base: String,
    /// The metrics addresses of edge and worker.
    metrics: [String; 2],
    sent: u32,
}

impl MonitoredStack {
    pub(super) async fn start() -> Self {
        let mut stack = Stack::new(Backend::MariaDb, GatewayShape::Roadmap).await;
        stack.set("edge.allow_unsigned", "true");
        stack.set("metrics.listen", "127.0.0.1:0");
        stack.set("metrics.sample_every", "200ms");
        stack.world.company(15).await;
        stack.world.company(16).await;
        stack.world.staff(1, 15, "Mara Lind", "mara@salon.example").await;
        stack.world.staff(2, 15, "Ole Berg", "ole@salon.example").await;
        let (mut edge, base) = stack.edge("edge").await;
        let mut worker = stack.worker().await;
        let metrics = [Scrape::base(&mut edge).await, Scrape::base(&mut worker).await];
        Self { stack, edge, worker, base, metrics, sent: 0 }
    }

    /// Sends bookings with a host who is known by address.
    pub(super) async fn send_good(&mut self, count: u32) {
        self.send(count, |_, _| {}).await;
    }

    /// Sends in turn: an unknown host, a host with only a name, no host, another company's booking, and a
    /// valid one.
    async fn send_bad(&mut self, count: u32) {
        self.send(count, |n, event| match n % 5 {
            0 => event["calcom_booking"]["hosts"] = host(200 + n, "Somebody", "somebody@elsewhere.example"),
            1 => event["calcom_booking"]["hosts"] = host(300, "Ole Berg", "private@elsewhere.example"),
            2 => event["calcom_booking"]["hosts"] = json!([]),
            3 => event["company_id"] = json!(16),
            _ => {}
        })
        .await;
    }

    /// Creates appointments and sends their events through the edge, after `change` may have made them
    /// invalid; waits until all events are decided.
    async fn send(&mut self, count: u32, change: impl Fn(u32, &mut Value)) {
        let client = crate::support::http_client();
        let mut events = Vec::new();
        for n in 0..count {
            self.sent += 1;
            let reference = format!("B{}", self.sent);
            self.stack.world.appointment(self.sent, 15, &reference).await;
            let mara = host(100, "M.", "mara@salon.example");
            let mut event = event(&format!("e{}", self.sent), &reference, 1, mara);
            change(n, &mut event);
            events.push(event);
        }
        let url = format!("{}/v1/events", self.base);
        let sent = client.post(url).json(&events).send().await.unwrap();
        assert_eq!(sent.status(), 202);
        let all = f64::from(self.sent);
        let done = |scrape: &Scrape| scrape.sum("hostmatch_events_processed_total") >= all;
        Scrape::until(&self.metrics[1], "the worker has processed all events", done).await;
    }

    /// Returns the current metrics of edge and worker.
    pub(super) async fn scrape(&self) -> [Scrape; 2] {
        [Scrape::fetch(&self.metrics[0]).await, Scrape::fetch(&self.metrics[1]).await]
    }

    pub(super) async fn stop(mut self) {
        assert_eq!(self.edge.stop().await, Some(0), "{}", self.edge.stderr());
        assert_eq!(self.worker.stop().await, Some(0), "{}", self.worker.stderr());
    }
}

/// Returns the groups of the rules, in order.
fn groups() -> Vec<String> {
    let rules = read(RULES);
    let groups = rules.lines().filter_map(|line| line.trim().strip_prefix("- name: "));
    groups.map(ToOwned::to_owned).collect()
}

/// Returns the series that the rules refer to, from all scrapes, in the rule tester's notation: a counter
/// grows evenly from one scrape to the next, a gauge has its final value during the whole stage.
fn series(scrapes: &[[Scrape; 2]]) -> Vec<Value> {
    let rules = read(RULES);
    let mut values: BTreeMap<String, (bool, Vec<Option<f64>>)> = BTreeMap::new();
    for (number, pair) in scrapes.iter().enumerate() {
        for (instance, scrape) in ["edge", "worker"].into_iter().zip(pair) {
            let exposition = Exposition::parse(scrape);
            for sample in &exposition.samples {
                let metric = exposition.metric(&sample.name);
                if !rules.contains(metric) {
                    continue;
                }
                let mut labels = format!("job=\"hostmatch\",instance=\"{instance}\"");
                sample.labels.iter().for_each(|(name, value)| write!(labels, ",{name}=\"{value}\"").unwrap());
                let grows = exposition.kinds[metric] != "gauge";
                let unseen = || (grows, vec![None; scrapes.len()]);
                let known = values.entry(format!("{}{{{labels}}}", sample.name)).or_insert_with(unseen);
                known.1[number] = Some(sample.value).filter(|value| !value.is_nan());
            }
        }
    }
    let reported = |(series, (grows, values)): (String, (bool, Vec<Option<f64>>))| {
        let mut text = values[0].map_or("_".to_owned(), |value| value.to_string());
        for (hours, pair) in HOURS.into_iter().zip(values.windows(2)) {
            let steps = hours * 60 / STEP;
            match (grows, pair[0], pair[1]) {
                (true, Some(from), Some(to)) => {
                    let by = (to - from) / f64::from(steps);
                    write!(text, " {}+{by}x{}", from + by, steps - 1).unwrap();
                }
                (_, _, Some(value)) => write!(text, " {value}x{}", steps - 1).unwrap(),
                _ => write!(text, " _x{steps}").unwrap(),
            }
        }
        json!({ "series": series, "values": text })
    };
    values.into_iter().map(reported).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_four_targets_fire_and_clear_on_the_metrics_of_a_real_run() {
    let mut run = MonitoredStack::start().await;
    let mut scrapes = vec![run.scrape().await];
    run.send_good(60).await;
    scrapes.push(run.scrape().await);
    run.send_bad(100).await;
    scrapes.push(run.scrape().await);
    run.send_good(60).await;
    scrapes.push(run.scrape().await);
    run.stop().await;

    let worker = &scrapes[3][1];
    let processed = worker.samples_of("hostmatch_events_processed_total");
    let count_of = |outcome: &str| -> f64 {
        processed
            .iter()
            .filter(|(labels, _)| labels.split(' ').any(|one| one == outcome))
            .map(|(_, n)| n)
            .sum()
    };
    let outcomes = ["unmatched", "needs_review", "no_host", "dead_letter"].map(count_of);
    assert_eq!(outcomes, [20.0; 4], "the invalid bookings have the expected outcomes");
    assert_eq!(count_of("assigned") + count_of("unchanged"), 140.0);

    // Expects exactly these targets to fire at this hour.
    let fire = |hour: u32, expected: &[&str]| {
        let samples = expected
            .iter()
            .map(|alert| json!({ "labels": format!("{{alertname=\"{alert}\"}}"), "value": 1 }));
        json!({
            "expr": format!("count by (alertname) (ALERTS{{alertname=~\"{}\",alertstate=\"firing\"}})", TARGETS.join("|")),
            "eval_time": format!("{hour}h"),
            "exp_samples": samples.collect::<Vec<_>>(),
        })
    };
    let [good, bad, again] = HOURS;
    let minutes = format!("{STEP}m");
    let test = json!({
        "rule_files": [path(RULES)],
        "evaluation_interval": minutes,
        // Recording rules are evaluated before the alerts that use them.
        "group_eval_order": groups(),
        "tests": [{
            "interval": minutes,
            "input_series": series(&scrapes),
            "promql_expr_test": [
                fire(good, &[]),
                fire(good + bad, &TARGETS),
                fire(good + bad + again, &[]),
            ],
        }],
    });
    promtool(&["test", "rules"], &test).unwrap();
}
