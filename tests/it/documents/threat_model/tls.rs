//! Tests encrypted connections to the broker and to the database: they work, and a wrong certificate is
//! refused.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::address::with_database;
use crate::support::broker::Broker;
use crate::support::collector::Collector;
use crate::support::mariadb::MariaDb;
use crate::support::postgres::Postgres;
use crate::support::program::{command, stderr};

/// A certificate authority, and a server certificate for `localhost` from it, as files.
struct Authority {
    root: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn new(directory: &Path, name: &str) -> Self {
        let path = |kind: &str| directory.join(format!("{name}-{kind}.pem"));
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let server_key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let server = server.signed_by(&server_key, &issuer).unwrap();
        let this = Self { root: path("root"), certificate: path("server"), key: path("key") };
        std::fs::write(&this.root, root.pem()).unwrap();
        std::fs::write(&this.certificate, server.pem()).unwrap();
        std::fs::write(&this.key, server_key.serialize_pem()).unwrap();
        this
    }
}

/// Publishes one event, trusting this authority.
fn publish(directory: &Path, url: &str, root: &Path) -> Output {
    publish_command(directory, url, root).output().unwrap()
}

fn publish_command(directory: &Path, url: &str, root: &Path) -> Command {
    let event = directory.join("event.json");
    let text = r#"{"event": "appointment.created", "event_id": "tls-1", "calcom_booking": {"uid": "u"}}"#;
    std::fs::write(&event, text).unwrap();
    let mut publish = command(&["publish", event.to_str().unwrap()]);
    publish.env("HOSTMATCH_QUEUE__URL", url).env("HOSTMATCH_QUEUE__CONFIRM_TIMEOUT", "10s");
    publish.env("SSL_CERT_FILE", root).env_remove("SSL_CERT_DIR").current_dir(directory);
    publish
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_is_reached_encrypted_and_an_untrusted_one_is_refused() {
    let Some(mut broker) = Broker::prepare() else { return };
    let home = tempfile::tempdir().unwrap();
    let (ours, untrusted) = (Authority::new(home.path(), "ours"), Authority::new(home.path(), "untrusted"));
    let port = crate::support::broker::free_port();
    let file = |path: &Path| path.display().to_string();
    broker.configure(&format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\nssl_options.verify = verify_none\n",
        file(&ours.root),
        file(&ours.certificate),
        file(&ours.key)
    ));
    broker.run().await;
    let url = format!("amqps://guest:guest@localhost:{port}");
    let accepted = publish(home.path(), &url, &ours.root);
    assert_eq!(accepted.status.code(), Some(0), "{}", stderr(&accepted));
    let by_address = url.replace("localhost", "127.0.0.1");
    for (what, url, root) in
        [("another authority", &url, &untrusted.root), ("a name", &by_address, &ours.root)]
    {
        let refused = publish(home.path(), url, root);
        assert_eq!(refused.status.code(), Some(7), "{what}: {}", stderr(&refused));
    }
    // An unencrypted port must not pass as an encrypted one.
    let plain = broker.url().replace("amqp://", "amqps://");
    assert_eq!(publish(home.path(), &plain, &ours.root).status.code(), Some(7));
}

/// A collector with an untrusted certificate gets nothing, and the event is published anyway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trace_collector_is_reached_encrypted_and_an_untrusted_one_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (ours, untrusted) = (Authority::new(home.path(), "ours"), Authority::new(home.path(), "untrusted"));
    let (collector, port) = Collector::start_with_tls(&ours.certificate, &ours.key).await;
    let publish_traced = |host: &str, root: &Path| {
        let url = format!("sqlite://{}", home.path().join("queue.db").display());
        let mut publish = publish_command(home.path(), &url, root);
        let output =
            publish.env("HOSTMATCH_TRACES__ENDPOINT", format!("https://{host}:{port}")).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stderr(&output).to_owned()
    };
    assert!(!publish_traced("localhost", &ours.root).contains("WARN"));
    assert_eq!(collector.requests(), 1);
    for (host, root) in [("localhost", &untrusted.root), ("127.0.0.1", &ours.root)] {
        let reported = publish_traced(host, root);
        assert!(
            reported.contains("the collector does not accept traces") && reported.contains("certificate"),
            "{reported}"
        );
    }
    assert_eq!(collector.requests(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_reached_encrypted_and_an_untrusted_one_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (ours, untrusted) = (Authority::new(home.path(), "ours"), Authority::new(home.path(), "untrusted"));
    let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let options = vec![
        option("ssl-ca", &ours.root),
        option("ssl-cert", &ours.certificate),
        option("ssl-key", &ours.key),
        "--require-secure-transport=ON".to_owned(),
    ];
    let Some(server) = MariaDb::start_with(options).await else { return };
    let address = with_database(&server.url(), "mysql");
    let parameters = |mode: &str, root: &Path| format!("ssl-mode={mode}&ssl-ca={}", root.display());
    for mode in ["VERIFY_CA", "VERIFY_IDENTITY"] {
        assert_trusted(&address, &parameters(mode, &ours.root));
        assert_refused(&address, "localhost", &parameters(mode, &untrusted.root), "certificate");
    }
    assert_refused(&address, "127.0.0.1", &parameters("VERIFY_IDENTITY", &ours.root), "certificate");
    assert_refused(&address, "localhost", "ssl-mode=DISABLED", "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_reached_encrypted_and_an_untrusted_one_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (ours, untrusted) = (Authority::new(home.path(), "ours"), Authority::new(home.path(), "untrusted"));
    let Some(mut server) = Postgres::prepare() else { return };
    server.configure("ssl=on".to_owned());
    for (key, path) in [("ssl_cert_file", &ours.certificate), ("ssl_key_file", &ours.key)] {
        let file = server.file(key, &std::fs::read(path).unwrap());
        server.configure(format!("{key}={}", file.display()));
    }
    // Only encrypted connections are accepted.
    let allowed = server.file("hba", b"hostssl all all 127.0.0.1/32 trust\nhostssl all all ::1/128 trust\n");
    server.configure(format!("hba_file={}", allowed.display()));
    server.run().await;
    let address = server.url();
    let parameters = |mode: &str, root: &Path| format!("sslmode={mode}&sslrootcert={}", root.display());
    for mode in ["verify-ca", "verify-full"] {
        assert_trusted(&address, &parameters(mode, &ours.root));
        assert_refused(&address, "localhost", &parameters(mode, &untrusted.root), "certificate");
    }
    // The certificate is for localhost: `verify-ca` accepts it for another address, `verify-full` does not.
    let by_address = status(&address, "127.0.0.1", &parameters("verify-ca", &ours.root));
    assert_eq!(by_address.status.code(), Some(10), "{}", stderr(&by_address));
    assert_refused(&address, "127.0.0.1", &parameters("verify-full", &ours.root), "certificate");
    assert_refused(&address, "localhost", "sslmode=disable", "no encryption");
}

/// Runs `migrate status` on the database at this address, with `host` as its host name.
fn status(address: &str, host: &str, options: &str) -> Output {
    let url = format!("{}?{options}", address.replace("127.0.0.1", host));
    let mut status = command(&["migrate", "status"]);
    status.env("HOSTMATCH_DATABASE__URL", url).env("HOSTMATCH_DATABASE__ACQUIRE_TIMEOUT", "10s");
    status.output().unwrap()
}

/// Checks that the connection is accepted: `migrate status` reports that migrations are pending.
fn assert_trusted(address: &str, options: &str) {
    let accepted = status(address, "localhost", options);
    assert_eq!(accepted.status.code(), Some(10), "{options}: {}", stderr(&accepted));
}

fn assert_refused(address: &str, host: &str, options: &str, reason: &str) {
    let refused = status(address, host, options);
    assert_eq!(refused.status.code(), Some(8), "{host} {options}: {}", stderr(&refused));
    assert!(stderr(&refused).contains(reason), "{host} {options}: {}", stderr(&refused));
}
