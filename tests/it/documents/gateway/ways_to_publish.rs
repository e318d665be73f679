//! Tests that every way to publish an event leads to the same assignment. A job that only PHP can read becomes a dead
//! letter with a remedy.

use std::time::Duration;

use super::php::Php;
use crate::support::program::stderr;
use crate::support::{Backend, GatewayShape, Stack, eventually};

/// The dead letters with the shape in which they were recognized.
const LETTERS: &str = "hostmatch_dead_letters JOIN hostmatch_events ON hostmatch_events.event_id = hostmatch_dead_letters.event_id";

const CALCOM_SECRET: &str = "whsec_salon";

/// Creates an installation on RabbitMQ with a salon where Jonas works, and a PHP application.
async fn set_up() -> Option<(Stack, Php)> {
    let mut stack = Stack::new(Backend::MariaDb, GatewayShape::Roadmap).await;
    let mut php = Php::application(&format!("{}.events", stack.config.prefix))?;
    // The first depth query creates the exchange and the queues: messages that the driver published earlier
    // would be lost.
    stack.queue.depth().await.unwrap();
    stack.world.company(1).await;
    stack.world.staff(2, 1, "Jonas Weber", "jonas.weber@salon.example").await;
    php.set_broker(stack.config.url.expose());
    php.set_database(&stack.world.test);
    stack.set("edge.calcom_secrets", CALCOM_SECRET);
    std::fs::write(stack.home().join("token"), "tok_salon").unwrap();
    let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest("tok_salon"));
    std::fs::write(stack.home().join("tokens"), format!("{hash}  salon\n")).unwrap();
    stack.set("edge.tokens_file", stack.home().join("tokens").to_str().unwrap());
    php.set("HOSTMATCH_TOKEN_FILE", stack.home().join("token").to_str().unwrap());
    Some((stack, php))
}

/// Sends Cal.com's webhook about this booking with Jonas.
async fn calcom(edge: &str, uid: &str) {
    let body = format!(
        r#"{{"triggerEvent":"BOOKING_CREATED","createdAt":"2026-03-01T08:14:03.120Z","payload":{{"uid":"{uid}",
        "status":"ACCEPTED","organizer":{{"id":310002,"name":"Jonas Weber","email":"jonas.weber@salon.example"}}}}}}"#
    );
    let mut mac =
        <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(CALCOM_SECRET.as_bytes()).unwrap();
    hmac::Mac::update(&mut mac, body.as_bytes());
    let signature = hex::encode(hmac::Mac::finalize(mac).into_bytes());
    let client = crate::support::http_client();
    let request = client.post(format!("{edge}/webhooks/calcom")).header("x-cal-signature-256", signature);
    assert_eq!(request.body(body).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn every_way_to_publish_gives_the_same_assignment() {
    let Some((stack, mut php)) = set_up().await else { return };
    let (mut server, edge) = stack.edge("all").await;
    php.set("HOSTMATCH_EDGE", &edge);
    let mut horizon = Php::application(&format!("{}.events", stack.config.prefix)).unwrap();
    horizon.set_broker(stack.config.url.expose());
    horizon.set("RABBITMQ_WORKER", "horizon");
    let ways = 11;
    for id in 1..=ways {
        stack.world.appointment(id, 1, &format!("way-{id}")).await;
    }
    for (number, script) in
        ["post.php", "edge.php", "publish.php", "push.php", "push-raw.php", "cloudevent.php"]
            .iter()
            .enumerate()
    {
        php.run_successfully(script, &[&format!("way-{}", number + 1)]).await;
    }
    calcom(&edge, "way-7").await;
    horizon.run_successfully("push.php", &["way-8"]).await;
    horizon.run_successfully("push-raw.php", &["way-9"]).await;
    // A delayed job, and a job that a PHP worker released, pass through one of Laravel's queues, which adds
    // x-death.
    let event = php.run_successfully("print.php", &["way-10"]).await;
    let file = php.home().join("event.json");
    std::fs::write(&file, event).unwrap();
    php.run_with_input("payloads.php", &["later", "0.5"], &file).await;
    let event = php.run_successfully("print.php", &["way-11"]).await;
    std::fs::write(&file, event).unwrap();
    php.set("ONLY_PRINT", "1");
    let payload = php.run_with_input("payloads.php", &["string-job"], &file).await;
    php.set("ONLY_PRINT", "");
    let released = php.home().join("payload.json");
    std::fs::write(&released, payload.trim()).unwrap();
    php.run_with_input("payloads.php", &["released", "0.3", released.to_str().unwrap()], &file).await;

    stack.wait_until_decided(ways as usize).await;
    let expected: Vec<_> = (1..=ways).map(|id| (id, "2/310002".to_owned())).collect();
    assert_eq!(stack.world.appointments().await.into_iter().collect::<Vec<_>>(), expected);
    let shapes = stack.world.rows("hostmatch_events", &["shape"]).await;
    let count = |shape: &str| shapes.iter().filter(|one| *one == shape).count();
    assert_eq!([count("native"), count("laravel"), count("cloudevents"), count("calcom")], [5, 4, 1, 1]);
    assert_eq!(stack.world.count("hostmatch_dead_letters").await, 0);
    assert_eq!(server.stop().await, Some(0));
}

#[tokio::test]
async fn jobs_that_only_php_can_read_become_dead_letters_with_a_remedy() {
    let Some((stack, php)) = set_up().await else { return };
    let mut worker = stack.worker().await;
    let file = php.home().join("event.json");
    std::fs::write(&file, php.run_successfully("print.php", &["way-1"]).await).unwrap();
    let kinds = ["object-job", "encrypted-job", "encoded-twice", "nothing"];
    for kind in kinds {
        php.run_with_input("payloads.php", &[kind], &file).await;
    }
    let letters = eventually("all jobs are dead letters", Duration::from_secs(60), async || {
        let letters = stack.world.rows(LETTERS, &["hostmatch_dead_letters.reason", "shape", "error"]).await;
        (letters.len() == kinds.len()).then_some(letters)
    })
    .await;
    assert!(letters.iter().all(|letter| letter.starts_with("malformed|laravel|")), "{letters:?}");
    for remedy in ["serialized by PHP", "APP_KEY", "not json_encode($event)", "push() got no event"] {
        assert!(letters.iter().any(|letter| letter.contains(remedy)), "{remedy}: {letters:?}");
    }
    assert_eq!(worker.stop().await, Some(0));
    // The edge's refusal says which field is invalid.
    let mut php = php;
    let (mut edge, address) = stack.edge("edge").await;
    php.set("HOSTMATCH_EDGE", &address);
    let output = php.run("post.php", &[&"x".repeat(256)]).await;
    assert!(
        !output.status.success() && stderr(&output).contains("/calcom_booking/uid"),
        "{}",
        stderr(&output)
    );
    let output = php.run("edge.php", &[&"x".repeat(256)]).await;
    assert!(!output.status.success() && stderr(&output).contains("NotPublished"), "{}", stderr(&output));
    assert_eq!(edge.stop().await, Some(0));
}
