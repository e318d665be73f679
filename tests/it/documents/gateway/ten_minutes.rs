//! Follows "Ten minutes", and the part about RabbitMQ after it, exactly as the document says, with only the
//! program and PHP installed; only the ports are changed.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::php::Php;
use super::snippets;
use crate::support::broker::{Broker, free_port};
use crate::support::program::{command, stderr, stdout};
use crate::support::{Process, eventually};

#[tokio::test]
async fn the_first_ten_minutes_work_as_written() {
    let Some(mut broker) = Broker::prepare() else { return };
    // Only its files are used: unlike in other tests, its scripts run without prepend.php.
    let Some(application) = Php::application("hostmatch.events") else { return };
    let home = application.home();
    let port = free_port().to_string();
    let typed = snippets::commands("Ten minutes");
    let beginnings = [
        "cargo build --release",
        "export PATH=",
        "hostmatch demo --keep",
        "php post.php",
        "hostmatch --config",
    ];
    assert!(
        typed.len() == beginnings.len()
            && typed.iter().zip(beginnings).all(|(line, begin)| line.starts_with(begin)),
        "{typed:?}"
    );

    let program = |line: &str| {
        let line = line.trim_end_matches(" &").replace("8080", &port);
        let mut words = line.split(' ').map(str::to_owned);
        assert_eq!(words.next().as_deref(), Some("hostmatch"));
        let words: Vec<String> = words.collect();
        let mut command = command(&words.iter().map(String::as_str).collect::<Vec<_>>());
        command.current_dir(home);
        command
    };
    let mut demo = Process::start(program(&typed[2]), home, "demo");
    let health = format!("http://127.0.0.1:{port}/health/ready");
    let client = crate::support::http_client();
    eventually("the demo keeps running", Duration::from_secs(120), async || {
        assert!(demo.is_running(), "{}{}", demo.stdout(), demo.stderr());
        let ready = client.get(&health).send().await.is_ok_and(|answer| answer.status().is_success());
        (ready && demo.stdout().contains("What to type next")).then_some(())
    })
    .await;
    let php = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(home).stdin(Stdio::null());
        command.env("HOSTMATCH_EDGE", format!("http://127.0.0.1:{port}")).output().unwrap()
    };
    let posted = php(&typed[3]);
    assert!(
        posted.status.success() && stdout(&posted).contains("queued"),
        "{}{}",
        stdout(&posted),
        stderr(&posted)
    );
    eventually("the appointment has its member of staff", Duration::from_secs(60), async || {
        let explained = program(&typed[4]).output().unwrap();
        let text = stdout(&explained);
        (explained.status.success() && text.contains("staff_id stays 2")).then_some(())
    })
    .await;

    // Then RabbitMQ, with the connection, the publisher and the worker of the document.
    broker.run().await;
    let typed = snippets::commands("A confirmed publisher");
    assert!(typed.len() == 2 && typed[0].starts_with("export HOSTMATCH_QUEUE__URL="), "{typed:?}");
    let mut worker = program(&typed[1]);
    worker.env("HOSTMATCH_QUEUE__URL", broker.url()).env("HOSTMATCH_LOG__FORMAT", "json");
    let mut worker = Process::start(worker, home, "worker");
    worker.wait_for_log("the worker is running").await;
    let mut application = application;
    application.set_broker(&broker.url());
    // The worker creates the exchange; a publisher that is faster gets an error and publishes again.
    eventually("the event is published", Duration::from_secs(60), async || {
        let published = application.run("publish.php", &["ABC132", "e-rabbit"]).await;
        published.status.success().then_some(())
    })
    .await;
    let salon = sea_orm::Database::connect(format!(
        "sqlite://{}/hostmatch-demo/salon.db",
        application.home().display()
    ));
    let salon = salon.await.unwrap();
    eventually("the event is decided", Duration::from_secs(60), async || {
        let sql = "SELECT outcome FROM hostmatch_events WHERE event_id = 'e-rabbit'";
        let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, sql);
        let row = sea_orm::ConnectionTrait::query_one_raw(&salon, statement).await.unwrap()?;
        (row.try_get_by_index::<String>(0).unwrap() == "unchanged").then_some(())
    })
    .await;
    salon.close().await.unwrap();
    assert_eq!(worker.stop().await, Some(0));
    demo.signal(nix::sys::signal::Signal::SIGINT);
    demo.wait().await;
}
