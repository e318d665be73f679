//! A TCP proxy that misbehaves on demand.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They pass.
    Pass,
    /// They are kept: the line is open and silent. They go on when the mode is `Pass` again.
    Stall,
    /// Only what the client sends is kept; the server's bytes pass.
    StallUpstream,
    /// New connections are closed at once. Those that are there stay: see [`Proxy::cut`].
    Refuse,
}

/// Listens on a port of its own and forwards to a server, until dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
}

#[derive(Clone, Copy)]
struct State {
    mode: Mode,
    /// Connections of an older generation are cut.
    generation: u64,
}

impl Proxy {
    /// A proxy for `target` (`host:port`), passing.
    pub(crate) async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, receiver) = watch::channel(State { mode: Mode::Pass, generation: 0 });
        let accepting = tokio::spawn(accept(listener, target.to_owned(), receiver));
        Self { address, state, accepting }
    }

    /// `url` with the proxy in place of its host and port.
    pub(crate) fn url(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").unwrap();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let user = rest[..end].rsplit_once('@').map_or(String::new(), |(user, _)| format!("{user}@"));
        format!("{scheme}://{user}{}{}", self.address, &rest[end..])
    }

    /// The `host:port` of a URL: what to give to [`Proxy::start`].
    pub(crate) fn target(url: &str) -> String {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_owned()
    }

    /// From now on.
    pub(crate) fn set(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }

    /// Cuts every connection that is there.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, target: String, state: watch::Receiver<State>) {
    while let Ok((client, _)) = listener.accept().await {
        if state.borrow().mode == Mode::Refuse {
            continue;
        }
        let (target, state) = (target.clone(), state.clone());
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(&target).await else { return };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = forward(from_client, to_server, state.clone(), true) => {}
                () = forward(from_server, to_client, state, false) => {}
            }
        });
    }
}

/// Ends, and with it the connection, when one side closes or the connection is cut.
async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    upstream: bool,
) {
    let born = state.borrow().generation;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let now = *state.borrow_and_update();
        if now.generation != born {
            return;
        }
        let stalled = now.mode == Mode::Stall || (now.mode == Mode::StallUpstream && upstream);
        tokio::select! {
            changed = state.changed() => {
                if changed.is_err() { return; }
            }
            read = from.read(&mut buffer), if !stalled => {
                let Ok(length @ 1..) = read else { return };
                if to.write_all(&buffer[..length]).await.is_err() { return; }
            }
        }
    }
}
