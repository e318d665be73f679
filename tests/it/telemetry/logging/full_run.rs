//! A full run at level `trace`: every entry point and every outcome of an event, faults on the way, and the
//! commands of operators; returns everything that was logged.

use std::cell::RefCell;
use std::process::Stdio;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use hostmatch::queue::Message;
use lapin::types::FieldTable;
use serde_json::{Value, json};
use sha2::Sha256;

use super::personal::{
    BORIS, CALCOM_SECRET, COLLECTORS, FRIEDA, GATEWAY_SECRET, PASSWORD, RETELL_KEY, STRANGE_ADDRESS,
    STRANGERS, assert_absent, native, webhook,
};
use crate::support::cleanup::connect;
use crate::support::collector::Collector;
use crate::support::{Backend, GatewayShape, Stack, eventually};

/// The most verbose level, for libraries too.
const VERBOSE_LEVEL: &str = "trace,lapin=trace,sqlx=trace,sea_orm=trace,hyper=trace,hyper_util=trace,rustls=trace,reqwest=trace,tower_http=trace";

const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

const RETELL: &str = "/api/retell/webhook";
const CALCOM: &str = "/webhooks/calcom";
const EVENTS: &str = "/v1/events";

/// A running installation, and what the commands of the test wrote to stderr.
struct Run {
    stack: Stack,
    base: String,
    token: String,
    stderr: RefCell<String>,
}

/// Runs all scenarios and returns everything that was logged.
pub(super) async fn record(backend: Backend, format: &str) -> String {
    let collector = Collector::start().await;
    let mut stack = Stack::new(backend, GatewayShape::Roadmap).await;
    collector.collect_from(&mut stack);
    salon(&stack).await;
    for (key, value) in [
        ("traces.headers", &*format!("authorization={COLLECTORS}")),
        ("edge.calcom_secrets", CALCOM_SECRET),
        ("edge.gateway_secrets", GATEWAY_SECRET),
        ("edge.retell_api_keys", RETELL_KEY),
        ("edge.tokens_file", "tokens"),
        ("edge.body_limit", "64KiB"),
        ("queue.retry_delays", "300ms"),
        ("log.level", VERBOSE_LEVEL),
        ("log.format", format),
    ] {
        stack.set(key, value);
    }
    let mut run = Run { stack, base: String::new(), token: String::new(), stderr: RefCell::default() };
    run.token = run.command(0, &["token", "create", "--name", "salon app"]).trim().to_owned();
    let mut edge = run.stack.start(&["serve", "edge", "--listen", "127.0.0.1:0"]);
    let mut worker = run.stack.start(&["serve", "worker"]);
    run.base = eventually("the edge listens", WAIT_TIMEOUT, async || {
        let text = edge.stderr();
        let line = text.lines().find(|line| line.contains("the edge is listening"))?;
        let port: String =
            line.split("127.0.0.1:").nth(1)?.chars().take_while(char::is_ascii_digit).collect();
        Some(format!("http://127.0.0.1:{port}"))
    })
    .await;

    run.post_requests().await;
    run.post_while_unbound().await;
    run.publish_directly().await;
    run.wait_for_rows("hostmatch_dead_letters", 6).await;
    // This letter, which was tried twice, is replayed at the end.
    run.wait_for_rows("hostmatch_dead_letters WHERE event_id = 'e-8'", 1).await;
    run.simulate_outage().await;
    run.refuse_transactions().await;
    run.run_commands().await;
    run.replay_dead_letters().await;
    for process in [&mut edge, &mut worker] {
        assert_eq!(process.stop().await, Some(0), "{}", process.stderr());
    }
    run.start_with_wrong_passwords(backend);

    let all = run.logs();
    for reported in
        ["an event was decided", "an event became a dead letter", "the database cannot be used", "request"]
    {
        assert!(all.contains(reported), "this line was not logged: {reported}");
    }
    assert_absent(&format!("{backend:?} {format}"), &all, &[&run.token]);
    let sent = collector.bytes();
    assert_absent("spans", &String::from_utf8_lossy(&sent), &[&run.token]);
    assert!(collector.headers()["authorization"].to_str().unwrap() == COLLECTORS);
    all
}

async fn salon(stack: &Stack) {
    let world = &stack.world;
    for company in [1, 2] {
        world.company(company).await;
    }
    for (n, company, (name, email)) in [(1, 1, FRIEDA), (2, 1, BORIS), (3, 2, FRIEDA)] {
        world.staff(n, company, name, email).await;
    }
    for n in 1..=20 {
        world.appointment(n, 1, &format!("uid-{n}")).await;
    }
}

impl Run {
    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> u16 {
        let client = crate::support::http_client();
        let mut request = client.post(format!("{}{path}", self.base)).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status().as_u16()
    }

    /// Posts with the bearer token, from an address that a proxy forwards.
    async fn post_event(&self, event: &Value) {
        let bearer = format!("Bearer {}", self.token);
        let headers = [
            ("authorization", bearer.as_str()),
            ("x-forwarded-for", "203.0.113.77"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ];
        assert_eq!(self.post(RETELL, &headers, event.to_string()).await, 200);
    }

    async fn wait_for_rows(&self, table: &str, rows: i64) {
        eventually(&format!("{rows} rows in {table}"), WAIT_TIMEOUT, async || {
            (self.stack.world.count(table).await >= rows).then_some(())
        })
        .await;
    }

    /// Runs a command at the most verbose level and keeps its stderr; returns its stdout.
    fn command(&self, code: i32, arguments: &[&str]) -> String {
        let mut command = self.stack.command(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        self.stderr.borrow_mut().push_str(std::str::from_utf8(&output.stderr).unwrap());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns everything that commands and processes have written to stderr.
    fn logs(&self) -> String {
        let files = self.stack.home().read_dir().unwrap().map(|entry| entry.unwrap().path());
        let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "stderr"));
        logs.map(|path| std::fs::read_to_string(path).unwrap())
            .chain([self.stderr.borrow().clone()])
            .collect()
    }

    /// Posts while no queue is bound: the broker returns the message, with its body.
    async fn post_while_unbound(&self) {
        let config = &self.stack.config;
        if !config.url.expose().starts_with("amqp") {
            return;
        }
        let connection = connect(config.url.expose()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let [queue, exchange] = ["bookings", "events"].map(|name| format!("{}.{name}", config.prefix).into());
        channel.queue_unbind(queue, exchange, "#".into(), FieldTable::default()).await.unwrap();
        self.post_event(&native("e-1", "uid-1", (2_000_001, FRIEDA.0, FRIEDA.1))).await;
        connection.close(200, "bye".into()).await.unwrap();
    }

    async fn post_requests(&self) {
        self.post_event(&native("e-1", "uid-1", (2_000_001, FRIEDA.0, FRIEDA.1))).await;
        self.post_event(&native("e-2", "uid-2", (2_000_002, BORIS.0, ""))).await;
        self.post_event(&native("e-3", "uid-3", (2_000_003, STRANGERS[0], "xaver@fremde.example"))).await;
        self.post_event(&native("e-4", "uid-4", (2_000_002, BORIS.0, ""))).await;
        // These events have an address as id or as booking, a name as type, another salon's company, or no
        // appointment.
        self.post_event(&native(
            "wanda.quill@gast.example",
            "wanda.quill@gast.example",
            (2_000_001, FRIEDA.0, FRIEDA.1),
        ))
        .await;
        let mut named = native("e-6", "uid-6", (2_000_001, FRIEDA.0, FRIEDA.1));
        named["event"] = "appointment for Wanda Quill".into();
        self.post_event(&named).await;
        let mut foreign = native("e-7", "uid-7", (2_000_001, FRIEDA.0, FRIEDA.1));
        foreign["company_id"] = json!(2);
        self.post_event(&foreign).await;
        self.post_event(&native("e-8", "uid-gone", (2_000_001, FRIEDA.0, FRIEDA.1))).await;

        let body = webhook("uid-9").to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(CALCOM_SECRET.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        assert_eq!(self.post(CALCOM, &[("x-cal-signature-256", &signature)], body.clone()).await, 200);
        assert_eq!(self.post(CALCOM, &[("x-cal-signature-256", "00")], body.clone()).await, 401);
        let bearer = format!("Bearer {}", self.token);
        let token = [("authorization", bearer.as_str())];
        // Unreadable bodies are queued unchanged, or refused.
        let garbage = b"\xff\xfe{ \"name\": \"Gundula Rumpel\" ".to_vec();
        assert_eq!(self.post(RETELL, &token, garbage.clone()).await, 200);
        assert_eq!(
            self.post(RETELL, &token, r#"{"event_id": "e-10", "attendee": "Gundula Rumpel"}"#).await,
            200
        );
        assert_eq!(self.post(EVENTS, &token, garbage).await, 400);
        let wrong = r#"[{"event": "appointment.created", "calcom_booking": "Gundula Rumpel"}]"#;
        assert_eq!(self.post(EVENTS, &token, wrong).await, 400);
        assert_eq!(self.post(EVENTS, &token, "Gundula Rumpel ".repeat(10_000)).await, 413);
        assert_eq!(self.post(EVENTS, &[("authorization", "Bearer Gundula-Rumpel")], body).await, 401);
        assert_eq!(self.post("/wanda.quill@gast.example?name=Gundula", &token, "{}").await, 404);
    }

    /// Publishes messages as other programs do.
    async fn publish_directly(&self) {
        let message = |body: Vec<u8>| Message { body: body.into(), ..Message::default() };
        let mut odd = message(b"O:8:\"Customer\":1:{s:4:\"name\";s:11:\"Wanda Quill\";}".to_vec());
        odd.message_id = Some("wanda.quill@gast.example".to_owned());
        odd.routing_key = "bookings.of.Wanda.Quill".to_owned();
        odd.headers = [("x-guest".to_owned(), "Wanda Quill".to_owned())].into();
        let laravel = json!({
            "job": "App\\Jobs\\TellWandaQuill", "data": { "command": "O:1:\"X\":1:{s:1:\"n\";s:11:\"Wanda Quill\";}" },
        });
        let cloud = json!({
            "specversion": "1.0", "type": "appointment.created", "source": "/Wanda Quill", "id": "e-11",
            "data": native("e-11", "uid-11", (2_000_001, FRIEDA.0, FRIEDA.1)),
        });
        let messages = vec![
            odd,
            message(laravel.to_string().into_bytes()),
            message(cloud.to_string().into_bytes()),
            message(
                r#"{"event":"appointment.created","calcom_booking":{"uid":{"name":"Wanda Quill"}}}"#.into(),
            ),
        ];
        self.stack.queue.publisher().publish(messages).await.unwrap();
    }

    /// Renames a table of the gateway for a while, so that the database cannot be used.
    async fn simulate_outage(&self) {
        let world = &self.stack.world;
        world.run("ALTER TABLE appointments RENAME TO appointments_renamed").await;
        self.post_event(&native("e-12", "uid-12", (2_000_001, FRIEDA.0, FRIEDA.1))).await;
        eventually("the worker holds its batch", WAIT_TIMEOUT, async || {
            self.logs().contains("the database cannot be used").then_some(())
        })
        .await;
        world.run("ALTER TABLE appointments_renamed RENAME TO appointments").await;
        eventually("the event is decided in the end", WAIT_TIMEOUT, async || {
            (world.assigned(12).await == "1/2000001").then_some(())
        })
        .await;
    }

    /// Makes the database refuse rows, with errors that contain their values.
    async fn refuse_transactions(&self) {
        let (refuse, allow) = match self.stack.world.test.backend {
            // On MariaDB our upsert would treat a violation of any unique index as a row of the same host.
            Backend::MariaDb => (
                "CREATE TRIGGER one_address BEFORE INSERT ON hostmatch_inbox FOR EACH ROW \
                 BEGIN DECLARE why VARCHAR(120); SET why = CONCAT('no place for ', NEW.email); \
                 SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = why; END",
                "DROP TRIGGER one_address",
            ),
            _ => ("CREATE UNIQUE INDEX one_address ON hostmatch_inbox (email)", "DROP INDEX one_address"),
        };
        self.stack.world.run(refuse).await;
        for (n, name) in STRANGERS.iter().enumerate() {
            let (event, uid) = (format!("e-{}", 13 + n), format!("uid-{}", 13 + n));
            self.post_event(&native(
                &event,
                &uid,
                (3_000_000 + i64::try_from(n).unwrap(), name, STRANGE_ADDRESS),
            ))
            .await;
        }
        eventually("one of them is refused", WAIT_TIMEOUT, async || {
            self.logs().contains("the database refused a transaction").then_some(())
        })
        .await;
        self.wait_for_rows("hostmatch_dead_letters WHERE event_id IN ('e-13', 'e-14')", 1).await;
        self.stack.world.run(allow).await;
    }

    /// Runs the commands of operators.
    async fn run_commands(&self) {
        let event = native("e-20", "uid-20", (2_000_001, FRIEDA.0, FRIEDA.1));
        let home = self.stack.home();
        std::fs::write(home.join("event.json"), event.to_string()).unwrap();
        std::fs::write(home.join("wrong.json"), r#"{"event": "appointment.created", "name": "Wanda Quill"}"#)
            .unwrap();
        let staff = self.stack.world.staff_id(2).trim_matches('\'').to_owned();
        let mappings = format!(
            "company_id,calcom_host_id,staff_id,calcom_name\n1,2000099,{staff},Wanda Quill\n1,x,{staff},Quill\n"
        );
        std::fs::write(home.join("mappings.csv"), mappings).unwrap();
        let host = ["--company", "1", "--host", "2000002"];
        let because = ["--reason", "because of Wanda", "--actor", "cli:frieda.morgenroth"];
        let concat = |first: &[&'static str], rest: &[&'static str]| [first, rest].concat();
        for (code, arguments) in [
            (0, vec!["publish", "event.json"]),
            (1, vec!["publish", "wrong.json"]),
            (10, vec!["validate", "wrong.json"]),
            (0, vec!["validate", "event.json"]),
            (0, vec!["events", "list"]),
            (0, vec!["events", "show", "e-1"]),
            (3, vec!["events", "show", "wanda.quill@gast.example-not"]),
            (0, vec!["match", "explain", "--booking", "event.json"]),
            (0, vec!["match", "simulate", "--auto-accept", "75"]),
            (0, vec!["inbox", "list"]),
            (0, concat(&["inbox", "show"], &host)),
            (0, concat(&["inbox", "accept", "--repair", "all", "--yes"], &[&host[..], &because].concat())),
            (0, vec!["mappings", "list"]),
            (0, vec!["mappings", "history", "1", "--company", "1"]),
            (0, concat(&["audit", "list"], &["--company", "1"])),
            (0, vec!["audit", "export"]),
            (0, vec!["repair", "list"]),
            (0, vec!["mappings", "export"]),
            (0, vec!["mappings", "template", "--suggestions"]),
            (5, vec!["mappings", "import", "mappings.csv", "--yes"]),
            (0, vec!["mappings", "imports"]),
            (0, vec!["report"]),
            (0, vec!["deadletters", "groups"]),
            (0, vec!["deadletters", "list"]),
            (0, vec!["deadletters", "show", "1", "--reveal"]),
            (0, vec!["deadletters", "export", "--all"]),
            (0, concat(&["deadletters", "discard", "--code", "tenant_mismatch", "--yes"], &because[..2])),
            (0, vec!["gateway", "grants"]),
            (0, vec!["config", "show"]),
            (0, vec!["token", "list"]),
            (0, vec!["migrate", "status"]),
        ] {
            self.command(code, &arguments);
        }
        let inspected = self.stack.command(&["gateway", "inspect"]).output().unwrap();
        self.stderr.borrow_mut().push_str(std::str::from_utf8(&inspected.stderr).unwrap());
    }

    /// Replays dead letters, with and without success.
    async fn replay_dead_letters(&self) {
        self.stack.world.appointment(30, 1, "uid-gone").await;
        let plan = self.command(0, &["deadletters", "plan", "--all", "--output", "json"]);
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let plan = plan["plan"].to_string();
        let replay = [
            "deadletters",
            "replay",
            "--plan",
            &plan,
            "--yes",
            "--canary",
            "0",
            "--reason",
            "because of Wanda",
        ];
        // Most of them fail again, and at least one is decided. The replay ends when the effect of each is
        // committed.
        let flags = ["--rate", "100/s", "--stop-on-failure", "100%"];
        self.command(5, &[&replay[..], &flags].concat());
        assert_eq!(self.stack.world.assigned(30).await, "1/2000001");
    }

    /// Starts processes with wrong passwords in both URLs.
    fn start_with_wrong_passwords(&self, backend: Backend) {
        let mut urls = vec![("HOSTMATCH_queue__url", format!("amqp://guest:{PASSWORD}@127.0.0.1:5672"), 7)];
        match backend {
            Backend::MariaDb => {
                urls.push((
                    "HOSTMATCH_database__url",
                    format!("mysql://nobody:{PASSWORD}@127.0.0.1:3306/x"),
                    8,
                ));
            }
            Backend::Postgres => {
                urls.push((
                    "HOSTMATCH_database__url",
                    format!("postgres://nobody:{PASSWORD}@127.0.0.1:5432/x"),
                    8,
                ));
            }
            Backend::Sqlite => {}
        }
        for (variable, url, code) in urls {
            let arguments: &[&str] =
                if code == 7 { &["publish", "event.json"] } else { &["migrate", "status"] };
            let mut command = self.stack.command(arguments);
            let output =
                command.env(variable, url).env("HOSTMATCH_queue__connect_timeout", "5s").output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{output:?}");
            self.stderr.borrow_mut().push_str(std::str::from_utf8(&output.stderr).unwrap());
        }
    }
}
