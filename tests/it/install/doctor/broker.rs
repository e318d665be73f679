//! Tests findings about a broker that is unreachable, refuses requests, is short of resources, or has another
//! topology. The tests use a private RabbitMQ node, because they disturb it.

use std::time::Duration;

use hostmatch::queue::topology::Topology;
use lapin::options::{
    BasicPublishOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, ExchangeKind};

use super::policies::only_policies_that_interfere_are_reported;
use super::{Installation, broker};
use crate::support::broker::Broker;
use crate::support::cleanup::connect;
use crate::support::{Backend, GatewayShape, TestDatabase, eventually};

const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

async fn installation(broker: &Broker, management: &str) -> Installation {
    let test = TestDatabase::migrated(Backend::Sqlite, GatewayShape::Roadmap).await;
    Installation::on(test, broker, management).await
}

impl Installation {
    /// Creates the topology without consumers.
    async fn with_topology(self) -> Self {
        eventually("the queues exist", WAIT_TIMEOUT, async || self.stack.queue.depth().await.ok()).await;
        self
    }

    fn name(&self, last: &str) -> String {
        format!("{}.{last}", self.stack.config.prefix)
    }

    async fn channel(&self) -> Channel {
        connect(self.stack.config.url.expose()).await.unwrap().create_channel().await.unwrap()
    }
}

macro_rules! on_one_broker {
    ($($case:ident)*) => {
        /// Each case has its own installation; the broker takes longer to start than any of them.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn every_fault_of_a_broker_is_reported() {
            let Some((broker, management)) = broker().await else { return };
            $(
                // Shows which case failed.
                println!("{}", stringify!($case));
                Box::pin($case(&broker, &management)).await;
            )*
        }
    };
}

on_one_broker! {
    a_broker_that_is_unreachable_or_refuses_the_login_is_reported
    missing_topology_is_reported_with_and_without_the_management_api
    different_arguments_are_reported_with_both_values
    dead_letters_without_a_recorder_are_reported
    a_consumer_timeout_shorter_than_the_hold_is_reported
    each_missing_permission_is_named_and_the_printed_command_grants_it
    limits_of_the_broker_that_are_too_low_are_reported
    a_memory_alarm_is_reported_even_by_amqp_alone
    a_management_api_that_does_not_respond_is_reported
    only_policies_that_interfere_are_reported
}

async fn a_broker_that_is_unreachable_or_refuses_the_login_is_reported(broker: &Broker, management: &str) {
    let mut installation = installation(broker, management).await;
    let url = broker.url();
    installation.set("queue.url", &url.replace("guest:guest", "guest:hush"));
    let report = installation.doctor(&[]);
    report.finds("broker_refused", "guest:***", "queue.url");
    assert!(report.reason_not_checked("queue_missing").contains("broker_refused"), "{:#}", report.json);
    installation.set("queue.url", &format!("{url}/nowhere"));
    installation.doctor(&[]).finds("broker_refused", "nowhere", "rabbitmqctl add_vhost");
    installation.set("queue.url", "amqp://guest:guest@127.0.0.1:1");
    installation.doctor(&[]).finds("broker_unreachable", "127.0.0.1:1", "hostmatch config show queue.url");
}

async fn missing_topology_is_reported_with_and_without_the_management_api(broker: &Broker, management: &str) {
    let mut installation = installation(broker, management).await;
    installation.set("queue.topology", "verify");
    let report = installation.doctor(&[]);
    report.finds("exchange_missing", ".events", "hostmatch topology apply");
    report.finds("queue_missing", ".dead", "hostmatch topology apply");
    report.only(&["exchange_missing", "queue_missing"]);
    assert_eq!(report.findings().len(), 6, "{:#}", report.json);

    let mut installation = installation.with_topology().await;
    installation
        .doctor(&[])
        .finds("no_consumers", ".bookings", "hostmatch serve worker")
        .only(&["no_consumers"]);
    let channel = installation.channel().await;
    let (work, exchange) = (installation.name("bookings"), installation.name("events"));
    let table = FieldTable::default();
    channel.queue_unbind(work.as_str().into(), exchange.into(), "#".into(), table).await.unwrap();
    let report = installation.doctor(&[]);
    report.finds("binding_missing", ".events -> ", "hostmatch topology apply");
    report.only(&["binding_missing", "no_consumers"]);

    // Without the management API the state is unknown, not healthy.
    installation.set("queue.management_url", "");
    let report = installation.doctor(&[]);
    report.only(&["no_consumers"]);
    for code in ["binding_missing", "policy_expires_messages", "consumer_timeout_short", "broker_alarm"] {
        assert!(report.reason_not_checked(code).contains("queue.management_url"), "{code}");
    }
}

async fn different_arguments_are_reported_with_both_values(broker: &Broker, management: &str) {
    let mut installation = installation(broker, management).await.with_topology().await;
    installation.set("queue.delivery_limit", "20");
    for api in [management, ""] {
        installation.set("queue.management_url", api);
        let report = installation.doctor(&[]);
        report.finds("queue_differs", ".bookings", "rabbitmqctl delete_queue");
        report.only(&["queue_differs", "no_consumers"]);
        let what = report.finding("queue_differs")["what"].as_str().unwrap();
        assert!(what.contains("x-delivery-limit is 50, but 20 is expected"), "{what}");
    }
    let channel = installation.channel().await;
    let exchange = installation.name("events");
    channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let (kind, table) = (ExchangeKind::Fanout, FieldTable::default());
    channel.exchange_declare(exchange.as_str().into(), kind, durable, table).await.unwrap();
    installation.set("queue.delivery_limit", "50");
    let report = installation.doctor(&[]);
    report.finds("exchange_differs", ".events", "rabbitmqadmin delete exchange");
}

async fn dead_letters_without_a_recorder_are_reported(broker: &Broker, management: &str) {
    let installation = installation(broker, management).await.with_topology().await;
    let channel = installation.channel().await;
    let (to, options) = (installation.name("dead"), BasicPublishOptions::default());
    channel.basic_publish("".into(), to.into(), options, b"{}", BasicProperties::default()).await.unwrap();
    let found = eventually("the dead letter is found", WAIT_TIMEOUT, async || {
        let report = installation.doctor(&[]);
        report.codes().contains(&"dead_letters_stuck").then_some(report)
    })
    .await;
    found.finds("dead_letters_stuck", ".dead", "hostmatch serve worker");
}

async fn a_consumer_timeout_shorter_than_the_hold_is_reported(broker: &Broker, management: &str) {
    let installation = installation(broker, management).await.with_topology().await;
    let topology = Topology::new(&installation.stack.config).unwrap();
    let spec = topology.queues.iter().find(|queue| queue.name == topology.work).unwrap();
    let channel = installation.channel().await;
    channel.queue_delete(spec.name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    let mut arguments = FieldTable::default();
    for (name, value) in &spec.arguments {
        let value = match value.as_i64() {
            Some(number) => AMQPValue::LongLongInt(number),
            None => AMQPValue::LongString(value.as_str().unwrap().into()),
        };
        arguments.insert((*name).into(), value);
    }
    arguments.insert("x-consumer-timeout".into(), AMQPValue::LongLongInt(60_000));
    channel
        .queue_declare(spec.name.as_str().into(), QueueDeclareOptions::durable(), arguments)
        .await
        .unwrap();
    let report = installation.doctor(&[]);
    report.finds("consumer_timeout_short", ".bookings", "worker.hold");
}

async fn each_missing_permission_is_named_and_the_printed_command_grants_it(
    broker: &Broker,
    management: &str,
) {
    let mut installation = installation(broker, management).await.with_topology().await;
    broker.control(&["add_user", "salon", "hush"]).await;
    installation.set("queue.url", &broker.url().replace("guest:guest", "salon:hush"));
    installation.set("queue.management_url", &management.replace("http://", "http://guest:guest@"));
    let (events, work, dead) =
        (installation.name("events"), installation.name("bookings"), installation.name("dead"));
    for (topology, role, lacks) in [
        ("declare", "all", vec!["configure", "write on amq.default", "write on", "read on"]),
        ("verify", "worker", vec!["write on amq.default", "read on"]),
        ("verify", "edge", vec!["write on"]),
        ("verify", "all", vec!["write on amq.default", "read on"]),
    ] {
        installation.set("queue.topology", topology);
        broker.control(&["set_permissions", "salon", "^$", "^$", "^$"]).await;
        let report = installation.doctor(&["--role", role]);
        report.finds("broker_right_missing", "salon", "rabbitmqctl set_permissions");
        let finding = report.finding("broker_right_missing");
        let what = finding["what"].as_str().unwrap();
        for lack in lacks {
            assert!(what.contains(lack), "{topology} {role}: {lack}: {what}");
        }
        let remedy = finding["remedy"].as_str().unwrap().replace('\'', "");
        let words: Vec<&str> = remedy.split(' ').skip(1).collect();
        broker.control(&words).await;
        let report = installation.doctor(&["--role", role]);
        report.only(&["no_consumers"]);
        assert!(what.contains(&events) || what.contains(&work) || what.contains(&dead), "{what}");
    }
    assert_eq!(installation.stack.queue.depth().await.unwrap().ready, 0, "the probes leave no message");
}

async fn limits_of_the_broker_that_are_too_low_are_reported(broker: &Broker, management: &str) {
    let mut installation = installation(broker, management).await.with_topology().await;
    installation.set("edge.body_limit", "3MiB");
    installation.set("worker.pipelines", "40");
    let report = installation.doctor(&[]);
    report.finds("message_size_small", "edge.body_limit", "max_message_size");
    report.finds("channels_few", "127.0.0.1", "channel_max");
    report.only(&["message_size_small", "channels_few", "no_consumers"]);
    let ready = installation.stack.queue.depth().await.unwrap().ready;
    assert_eq!(ready, 0, "the probes leave no message");
}

async fn a_memory_alarm_is_reported_even_by_amqp_alone(broker: &Broker, management: &str) {
    let mut installation = installation(broker, management).await.with_topology().await;
    broker.control(&["set_vm_memory_high_watermark", "0.000001"]).await;
    let report = eventually("the alarm is found", WAIT_TIMEOUT, async || {
        let report = installation.doctor(&[]);
        report.codes().contains(&"broker_alarm").then_some(report)
    })
    .await;
    report.finds("broker_alarm", "hm-", "vm_memory_high_watermark");
    report.finds("broker_blocked", "127.0.0.1", "vm_memory_high_watermark");
    installation.set("queue.management_url", "");
    let report = installation.doctor(&[]);
    report.finds("broker_blocked", "127.0.0.1", "rabbitmq-diagnostics");
    broker.control(&["set_vm_memory_high_watermark", "0.6"]).await;
    eventually("the alarm is cleared", WAIT_TIMEOUT, async || {
        (!installation.doctor(&[]).codes().contains(&"broker_blocked")).then_some(())
    })
    .await;
}

async fn a_management_api_that_does_not_respond_is_reported(broker: &Broker, management: &str) {
    let mut installation = installation(broker, management).await.with_topology().await;
    broker.control(&["add_user", "nobody", "hush"]).await;
    broker.control(&["add_user", "half", "hush"]).await;
    broker.control(&["set_permissions", "half", "^$", "^$", "^$"]).await;
    broker.control(&["set_user_tags", "half", "management"]).await;
    let as_user = |user: &str| management.replace("http://", &format!("http://{user}:hush@"));
    for (url, hidden) in [
        ("http://127.0.0.1:1".to_owned(), "binding_missing"),
        (as_user("guest"), "binding_missing"),
        (as_user("nobody"), "binding_missing"),
        (as_user("half"), "broker_alarm"),
    ] {
        installation.set("queue.management_url", &url);
        let report = installation.doctor(&[]);
        report.finds("management_unusable", "http://127.0.0.1:", "queue.management_url");
        report.only(&["management_unusable", "no_consumers"]);
        assert!(!report.reason_not_checked(hidden).is_empty());
    }
}
