//! Creates signed webhooks, and posts them over connections of a minimal HTTP client, so that the benchmark
//! measures the edge and not its caller.

use std::net::SocketAddr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::Result;
use crate::bookings::Booking;

/// The key of the signatures.
pub(crate) const SECRET: &str = "a secret of the benchmark";

/// A webhook from Cal.com.
pub(crate) struct Webhook {
    pub(crate) body: Vec<u8>,
    request: Vec<u8>,
}

impl Webhook {
    /// Returns the webhook with this number.
    ///
    /// # Errors
    /// Never fails, because the key may have any length.
    pub(crate) fn nth(n: usize) -> Result<Self> {
        let event = Booking::nth(n as u64).event();
        let mut payload = event["calcom_booking"].clone();
        payload["organizer"] = payload["hosts"].get_mut(0).map(Value::take).into();
        let body = json!({ "triggerEvent": "BOOKING_CREATED", "createdAt": event["occurred_at"], "payload": payload });
        let body = body.to_string().into_bytes();
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?;
        mac.update(&body);
        let signature = hex::encode(mac.finalize().into_bytes());
        let mut request = format!(
            "POST /webhooks/calcom HTTP/1.1\r\nhost: edge.example\r\ncontent-type: application/json\r\n\
             x-cal-signature-256: {signature}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(&body);
        Ok(Self { body, request })
    }
}

/// Returns whether an edge at this address is ready.
pub(crate) async fn is_ready(address: SocketAddr) -> bool {
    let response = async {
        let request = b"GET /health/ready HTTP/1.1\r\nhost: edge.example\r\n\r\n";
        Connection::open(address).await?.send(request).await
    };
    response.await.is_ok()
}

/// One connection, which stays open.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Fails if nothing listens.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Posts a webhook, and waits until it is accepted.
    ///
    /// # Errors
    /// Fails if it is not accepted.
    pub(crate) async fn post(&mut self, webhook: &Webhook) -> Result<()> {
        self.send(&webhook.request).await
    }

    async fn send(&mut self, request: &[u8]) -> Result<()> {
        self.0.write_all(request).await?;
        let (mut line, mut status, mut length) = (String::new(), String::new(), 0);
        loop {
            line.clear();
            if self.0.read_line(&mut line).await? == 0 {
                return Err("the edge closed a connection".into());
            }
            if status.is_empty() {
                status.push_str(line.trim_end());
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
            if line.trim_end().is_empty() {
                break;
            }
        }
        self.0.read_exact(&mut vec![0; length]).await?;
        if status.split(' ').nth(1) == Some("200") { Ok(()) } else { Err(status.into()) }
    }
}
