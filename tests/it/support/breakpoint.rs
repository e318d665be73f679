//! A proxy that holds the N-th statement that changes the database, so that a test can kill the program
//! exactly there, or do something else in the meantime. It parses enough of MySQL's and PostgreSQL's
//! protocols to find such a statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The side of the statement at which the proxy stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The server never receives it.
    Before,
    /// The server has executed it and responded; the program never receives the response.
    After,
}

/// A proxy that listens on its own port until dropped.
pub(crate) struct Breakpoint {
    pub(crate) address: String,
    reached: watch::Receiver<bool>,
    released: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

#[derive(Clone)]
struct Gate {
    side: Side,
    nth: usize,
    seen: Arc<AtomicUsize>,
    reached: watch::Sender<bool>,
    released: watch::Receiver<bool>,
}

impl Breakpoint {
    /// Starts a proxy in front of `target` (`host:port`) for the `nth` statement, counted from 1.
    pub(crate) async fn start(target: &str, nth: usize, side: Side) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (reached_sender, reached) = watch::channel(false);
        let (release_sender, released) = watch::channel(false);
        let gate = Gate { side, nth, seen: Arc::default(), reached: reached_sender, released };
        let accepting = tokio::spawn(accept(listener, target.to_owned(), gate));
        Self { address, reached, released: release_sender, accepting }
    }

    /// Waits until the statement has arrived.
    pub(crate) async fn wait_until_reached(&self) {
        let mut reached = self.reached.clone();
        // The sender lives as long as `self`.
        let _ = reached.wait_for(|reached| *reached).await;
    }

    /// Forwards the statement, or its response.
    pub(crate) fn release(&self) {
        self.released.send_replace(true);
    }
}

impl Drop for Breakpoint {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: String, gate: Gate) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (target, gate) = (target.clone(), gate.clone());
        connections.spawn(async move {
            let Ok(server) = TcpStream::connect(&target).await else { return };
            forward(client, server, gate).await;
        });
    }
}

/// In both protocols a request and its response alternate.
async fn forward(client: TcpStream, server: TcpStream, gate: Gate) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (mut request, mut response) = (vec![0; 1 << 18], vec![0; 1 << 16]);
    let mut hold_response = false;
    loop {
        tokio::select! {
            read = from_client.read(&mut request) => {
                let Ok(length @ 1..) = read else { return };
                if is_change(&request[..length]) && gate.seen.fetch_add(1, Ordering::SeqCst) + 1 == gate.nth {
                    if gate.side == Side::Before { hold_until_released(&gate).await; } else { hold_response = true; }
                }
                if to_server.write_all(&request[..length]).await.is_err() { return; }
            }
            read = from_server.read(&mut response) => {
                let Ok(length @ 1..) = read else { return };
                if std::mem::take(&mut hold_response) { hold_until_released(&gate).await; }
                if to_client.write_all(&response[..length]).await.is_err() { return; }
            }
        }
    }
}

/// Keeps the connection open and silent until it is released or the proxy is dropped.
async fn hold_until_released(gate: &Gate) {
    gate.reached.send_replace(true);
    let _ = gate.released.clone().wait_for(|released| *released).await;
}

/// In both protocols the text of a statement starts after five bytes.
fn is_change(packet: &[u8]) -> bool {
    let is_query = packet.first() == Some(&b'Q') || packet.get(4) == Some(&3);
    let text = packet.get(5..).unwrap_or_default();
    is_query
        && ["CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE", "COMMIT"]
            .iter()
            .any(|word| text.starts_with(word.as_bytes()))
}
