//! Reads the product and version that a broker sends before the login. This uses a separate connection,
//! because lapin does not expose them.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use lapin::tcp::AMQPUriTcpExt as _;
use lapin::types::AMQPValue;
use lapin::types::parsing::parse_field_table;
use lapin::uri::AMQPUri;

/// The protocol header that a client sends first.
const HEADER: &[u8; 8] = b"AMQP\0\0\x09\x01";
/// The number of bytes for the type, channel and size of a frame.
const FRAME_HEAD: usize = 7;
/// A first frame larger than this is not AMQP.
const MAX_FRAME_SIZE: usize = 64 << 10;
/// Class and method of connection.start, and the version of the protocol.
const START: [u8; 6] = [0, 10, 0, 10, 0, 9];

/// A broker's product and version.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Server {
    pub(crate) product: String,
    /// The version, such as `3.10.8`.
    pub(crate) version: String,
}

impl Server {
    /// Returns the major and minor version; `None` if they cannot be read.
    pub(crate) fn major_minor(&self) -> Option<(u32, u32)> {
        let mut numbers = self.version.split('.').map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

/// Reads the broker's greeting; `None` if there is no valid response. Waits on a blocking thread, for about
/// `limit` at most.
pub(super) async fn read_greeting(mut address: AMQPUri, limit: Duration) -> Option<Server> {
    address.query.connection_timeout = u64::try_from(limit.as_millis()).ok();
    tokio::task::spawn_blocking(move || greet(&address, limit)).await.ok()?
}

fn greet(address: &AMQPUri, limit: Duration) -> Option<Server> {
    let mut stream = address.connect().ok()?;
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.write_all(HEADER).ok()?;
    stream.flush().ok()?;
    let mut head = [0; FRAME_HEAD];
    stream.read_exact(&mut head).ok()?;
    let size = usize::try_from(u32::from_be_bytes([head[3], head[4], head[5], head[6]])).ok()?;
    let mut body = vec![0; size.min(MAX_FRAME_SIZE)];
    stream.read_exact(&mut body).ok()?;
    parse_start(&body)
}

fn parse_start(body: &[u8]) -> Option<Server> {
    let (_, properties) = parse_field_table(body.strip_prefix(&START)?).ok()?;
    let text = |name: &str| match properties.inner().get(name) {
        Some(AMQPValue::LongString(text)) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        _ => None,
    };
    Some(Server { product: text("product")?, version: text("version")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_numbers() {
        let of = |version: &str| Server { product: "RabbitMQ".into(), version: version.into() }.major_minor();
        assert_eq!(of("3.10.8"), Some((3, 10)));
        assert_eq!(of("4.1.0-rc.1"), Some((4, 1)));
        assert_eq!(of("unknown"), None);
    }

    #[test]
    fn an_invalid_greeting_is_ignored() {
        assert_eq!(parse_start(b""), None);
        assert_eq!(parse_start(&[0, 10, 0, 10, 0, 9, 0, 0, 0, 9]), None);
    }
}
