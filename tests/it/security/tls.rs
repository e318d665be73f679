//! Encrypted lines to broker and database: they work, and a wrong certificate is refused.

use std::path::{Path, PathBuf};
use std::process::Output;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::program::{command, stderr};
use crate::support::broker::Broker;
use crate::support::mariadb::MariaDb;

/// An authority, and a server's certificate for `localhost` by it, as files.
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
    let event = directory.join("event.json");
    let text = r#"{"event": "appointment.created", "event_id": "tls-1", "calcom_booking": {"uid": "u"}}"#;
    std::fs::write(&event, text).unwrap();
    let mut publish = command(&["publish", event.to_str().unwrap()]);
    publish.env("HOSTMATCH_QUEUE__URL", url).env("HOSTMATCH_QUEUE__CONFIRM_TIMEOUT", "10s");
    publish.env("SSL_CERT_FILE", root).env_remove("SSL_CERT_DIR").current_dir(directory);
    publish.output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_is_reached_encrypted_and_a_stranger_is_not_believed() {
    let Some(mut broker) = Broker::prepare() else { return };
    let home = tempfile::tempdir().unwrap();
    let (ours, strange) = (Authority::new(home.path(), "ours"), Authority::new(home.path(), "strange"));
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
    let well = publish(home.path(), &url, &ours.root);
    assert_eq!(well.status.code(), Some(0), "{}", stderr(&well));
    let by_address = url.replace("localhost", "127.0.0.1");
    for (what, url, root) in [("another authority", &url, &strange.root), ("a name", &by_address, &ours.root)]
    {
        let refused = publish(home.path(), url, root);
        assert_eq!(refused.status.code(), Some(7), "{what}: {}", stderr(&refused));
    }
    // An unencrypted port is no encrypted one.
    let plain = broker.url().replace("amqp://", "amqps://");
    assert_eq!(publish(home.path(), &plain, &ours.root).status.code(), Some(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_reached_encrypted_and_a_stranger_is_not_believed() {
    let home = tempfile::tempdir().unwrap();
    let (ours, strange) = (Authority::new(home.path(), "ours"), Authority::new(home.path(), "strange"));
    let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let options = vec![
        option("ssl-ca", &ours.root),
        option("ssl-cert", &ours.certificate),
        option("ssl-key", &ours.key),
        "--require-secure-transport=ON".to_owned(),
    ];
    let Some(server) = MariaDb::start_with(options).await else { return };
    let status = |host: &str, options: &str| {
        let url = format!("{}/mysql?{options}", server.url().replace("127.0.0.1", host));
        let mut status = command(&["migrate", "status"]);
        status.env("HOSTMATCH_DATABASE__URL", url).env("HOSTMATCH_DATABASE__ACQUIRE_TIMEOUT", "10s");
        status.current_dir(home.path()).output().unwrap()
    };
    let with = |mode: &str, root: &Path| format!("ssl-mode={mode}&ssl-ca={}", root.display());
    for mode in ["VERIFY_CA", "VERIFY_IDENTITY"] {
        let well = status("localhost", &with(mode, &ours.root));
        // It could look, and found migrations to be run.
        assert_eq!(well.status.code(), Some(10), "{mode}: {}", stderr(&well));
        let refused = status("localhost", &with(mode, &strange.root));
        assert_eq!(refused.status.code(), Some(8), "{mode}: {}", stderr(&refused));
        assert!(stderr(&refused).contains("certificate"), "{}", stderr(&refused));
    }
    let another_name = status("127.0.0.1", &with("VERIFY_IDENTITY", &ours.root));
    assert_eq!(another_name.status.code(), Some(8), "{}", stderr(&another_name));
    let plain = status("localhost", "ssl-mode=DISABLED");
    assert_eq!(plain.status.code(), Some(8), "{}", stderr(&plain));
}
