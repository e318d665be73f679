//! Tests the contents of the edge's log, and that it has no personal data.

use super::site::*;

/// Everything runs on this test's own thread, so its subscriber sees all of it.
#[tokio::test]
async fn no_log_line_contains_personal_data_or_a_secret() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // With only one subscriber, tracing caches the interest of the thread that first reaches a callsite, and
    // that thread may belong to another test without a subscriber. With two subscribers, tracing asks both.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let site = Site::open().await;
    let body = fixture("calcom-created");
    let signature = hmac(CALCOM_SECRET, &[&body]);
    json_body(site.post(CALCOM, &[("x-cal-signature-256", &signature)], body).await).await;
    send(&site, "application/json", fixture("native-full")).await;
    let damaged = String::from_utf8(fixture("native-full")).unwrap().replace("\"uid\": ", "\"uid\": 1.");
    send(&site, "application/json", damaged).await;
    let unreadable = br#"{"attendee":"Ole Brandt"}"#.to_vec();
    let token = bearer(TOKEN);
    site.post(RETELL, &[("authorization", &token)], unreadable).await;
    site.get("/ole.brandt@kunde.example").await;
    site.close().await;
    let text = lines.text();
    assert!(text.contains("01KHX3M6ZQ8T0C4V6B2N8P1R5S") && text.contains("/v1/events"), "ids are logged");
    // This includes the lines of other crates, which appear at a more verbose level.
    for secret in ["Mara", "Ole", "salon-nord", "kunde.example", TOKEN, CALCOM_SECRET, &signature] {
        let shown: Vec<_> = text.lines().filter(|line| line.contains(secret)).collect();
        assert!(shown.is_empty(), "{secret} in {shown:?}");
    }
}

/// Log lines in memory.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
