//! Clients that misuse their connections.

use std::time::Duration;

use tokio::net::TcpStream;

/// Sends requests on this connection without ever reading a response, until the connection ends or this time
/// has passed. Returns whether the connection has ended.
pub(crate) async fn send_without_reading(stream: &TcpStream, path: &str, time_limit: Duration) -> bool {
    let requests = format!("GET {path} HTTP/1.1\r\nhost: edge.example\r\n\r\n").repeat(80);
    let mut offset = 0;
    let send = async {
        loop {
            if stream.writable().await.is_err() {
                return;
            }
            match stream.try_write(&requests.as_bytes()[offset..]) {
                Ok(sent) => offset = (offset + sent) % requests.len(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    tokio::time::timeout(time_limit, send).await.is_ok()
}

/// Checks that the server disconnects a client that sends requests and never reads a response.
pub(crate) async fn assert_disconnects(stream: TcpStream, path: &str, time_limit: Duration) {
    let ended = send_without_reading(&stream, path, time_limit).await;
    assert!(ended, "still connected after {time_limit:?} without reading");
}
