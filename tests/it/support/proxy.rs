//! A TCP proxy that misbehaves on demand, at once or when something certain passes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::eventually;

/// `basic.ack`, as it stands in an AMQP frame: an acknowledgement when the client sends it, the
/// confirm of a publish when the broker does.
pub(crate) const ACK: &[u8] = &[0, 60, 0, 80];
/// `basic.publish`.
pub(crate) const PUBLISH: &[u8] = &[0, 60, 0, 40];
/// `basic.deliver`.
pub(crate) const DELIVER: &[u8] = &[0, 60, 0, 60];
/// The end of a transaction, on MariaDB and PostgreSQL alike.
pub(crate) const COMMIT: &[u8] = b"COMMIT";

/// How long a slow close leaves the connection half open.
const SLOWLY: Duration = Duration::from_secs(5);

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They pass.
    Pass,
    /// They are kept: the line is open and silent. They go on when the mode is `Pass` again.
    Stall,
    /// Only what the client sends is kept; the server's bytes pass.
    StallUpstream,
    /// Only what the server sends is kept.
    StallDownstream,
    /// New connections are closed at once. Those that are there stay: see [`Proxy::cut`].
    Refuse,
    /// They pass, each piece later by so much.
    Latency(Duration),
    /// They pass, so many in a second, each way.
    Throttle(usize),
    /// Of an AMQP connection: acknowledgements of the client are swallowed, all else passes.
    SwallowAcks,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// It is closed in order (FIN).
    Cut,
    /// It is torn down (RST).
    Reset,
    /// Nobody is heard any more, but both may still write for a while.
    SlowClose,
    /// Not at all: from now on it is open and silent.
    Stall,
}

/// At which point something is to happen, once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// After so many bytes, of all connections, both ways together.
    Bytes(usize),
    /// When the client sends this, before it is passed on.
    Sends(&'static [u8]),
    /// When the client has sent this and the server has it.
    Sent(&'static [u8]),
    /// When the server sends this, before it is passed on.
    Answers(&'static [u8]),
}

/// Listens on a port of its own and forwards to a server, until dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    line: Arc<Connection>,
    accepting: JoinHandle<()>,
}

struct Connection {
    state: watch::Sender<State>,
    plan: Mutex<Option<(When, Harm)>>,
}

#[derive(Clone, Copy)]
struct State {
    mode: Mode,
    /// Connections of an older generation are ended.
    generation: u64,
    harm: Harm,
}

impl Connection {
    fn harm(&self, harm: Harm) {
        self.state.send_modify(|state| match harm {
            Harm::Stall => state.mode = Mode::Stall,
            _ => (state.generation, state.harm) = (state.generation + 1, harm),
        });
    }

    /// How many of these bytes may pass before what is planned happens; `None`: all, and nothing.
    fn allows(&self, bytes: &[u8], upstream: bool) -> Option<(usize, Harm)> {
        let mut plan = self.plan.lock().unwrap();
        let (when, harm) = plan.as_mut()?;
        let harm = *harm;
        let has = |pattern: &[u8]| bytes.windows(pattern.len()).any(|window| window == pattern);
        let pass = match when {
            When::Bytes(left) if *left > bytes.len() => {
                *left -= bytes.len();
                return None;
            }
            When::Bytes(left) => *left,
            When::Sends(pattern) if upstream && has(pattern) => 0,
            When::Answers(pattern) if !upstream && has(pattern) => 0,
            When::Sent(pattern) if upstream && has(pattern) => bytes.len(),
            _ => return None,
        };
        *plan = None;
        Some((pass, harm))
    }
}

impl Proxy {
    /// A proxy for `target` (`host:port`), passing.
    pub(crate) async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, _) = watch::channel(State { mode: Mode::Pass, generation: 0, harm: Harm::Cut });
        let line = Arc::new(Connection { state, plan: Mutex::default() });
        let accepting = tokio::spawn(accept(listener, target.to_owned(), line.clone()));
        Self { address, line, accepting }
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
        self.line.state.send_modify(|state| state.mode = mode);
    }

    /// Cuts every connection that is there.
    pub(crate) fn cut(&self) {
        self.line.harm(Harm::Cut);
    }

    /// Harms every connection that is there, once it comes to that point.
    pub(crate) fn plan(&self, when: When, harm: Harm) {
        *self.line.plan.lock().unwrap() = Some((when, harm));
    }

    /// Waits until what was planned has happened.
    pub(crate) async fn until_harmed(&self) {
        eventually("the line is harmed", Duration::from_secs(60), async || {
            self.line.plan.lock().unwrap().is_none().then_some(())
        })
        .await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, target: String, line: Arc<Connection>) {
    while let Ok((client, _)) = listener.accept().await {
        if line.state.borrow().mode == Mode::Refuse {
            continue;
        }
        let (target, line) = (target.clone(), line.clone());
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(&target).await else { return };
            connection(client, server, &line).await;
        });
    }
}

/// Forwards until one side closes or the connection is ended, and ends it.
async fn connection(mut client: TcpStream, mut server: TcpStream, line: &Connection) {
    let born = line.state.borrow().generation;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        () = forward(from_client, to_server, line, true) => {}
        () = forward(from_server, to_client, line, false) => {}
    }
    let State { generation, harm, .. } = *line.state.borrow();
    match harm {
        Harm::Reset if generation != born => {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
        Harm::SlowClose if generation != born => {
            let _ = (client.shutdown().await, server.shutdown().await);
            sleep(SLOWLY).await;
        }
        _ => {}
    }
}

async fn forward(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, line: &Connection, upstream: bool) {
    let mut state = line.state.subscribe();
    let born = state.borrow_and_update().generation;
    let mut buffer = vec![0; 16 * 1024];
    let mut frames = upstream.then(Frames::default);
    loop {
        let now = *state.borrow_and_update();
        if now.generation != born {
            return;
        }
        let stalled = match now.mode {
            Mode::Stall => true,
            Mode::StallUpstream => upstream,
            Mode::StallDownstream => !upstream,
            _ => false,
        };
        tokio::select! {
            changed = state.changed() => {
                if changed.is_err() { return; }
            }
            read = from.read(&mut buffer), if !stalled => {
                let Ok(length @ 1..) = read else { return };
                let mut bytes = buffer[..length].to_vec();
                if let Some(frames) = &mut frames {
                    bytes = frames.pass(bytes, now.mode == Mode::SwallowAcks);
                }
                let harm = line.allows(&bytes, upstream);
                let pass = harm.map_or(bytes.len(), |(pass, _)| pass);
                if write(&mut to, &bytes[..pass], now.mode).await.is_err() { return; }
                match harm {
                    // What is held back goes on when the line is free again.
                    Some((_, Harm::Stall)) => {
                        line.harm(Harm::Stall);
                        let passing = state.wait_for(|state| state.mode == Mode::Pass || state.generation != born);
                        // What was held on a line that is cut is lost with it.
                        let is_whole = passing.await.is_ok_and(|now| now.generation == born);
                        if !is_whole || to.write_all(&bytes[pass..]).await.is_err() { return; }
                    }
                    Some((_, harm)) => line.harm(harm),
                    None => {}
                }
            }
        }
    }
}

async fn write(to: &mut WriteHalf<'_>, bytes: &[u8], mode: Mode) -> std::io::Result<()> {
    match mode {
        Mode::Latency(latency) => sleep(latency).await,
        Mode::Throttle(rate) => {
            for piece in bytes.chunks((rate / 50).max(1)) {
                to.write_all(piece).await?;
                sleep(Duration::from_millis(20)).await;
            }
            return Ok(());
        }
        _ => {}
    }
    to.write_all(bytes).await
}

/// The client's side of an AMQP connection, frame by frame; anything else passes as it is.
#[derive(Default)]
struct Frames {
    rest: Vec<u8>,
    begun: bool,
    other: bool,
}

impl Frames {
    /// What of these bytes is to be passed on: whole frames.
    fn pass(&mut self, bytes: Vec<u8>, swallow_acks: bool) -> Vec<u8> {
        if !self.begun {
            self.begun = true;
            self.other = !bytes.starts_with(b"AMQP");
            return bytes;
        }
        if self.other {
            return bytes;
        }
        self.rest.extend(bytes);
        let mut passed = Vec::new();
        // Type, channel and size, the payload, and one byte for the end.
        while let Some(size) = self.rest.get(3..7) {
            let length = u32::from_be_bytes(size.try_into().unwrap()) as usize + 8;
            if self.rest.len() < length {
                break;
            }
            let frame: Vec<u8> = self.rest.drain(..length).collect();
            if !(swallow_acks && frame[0] == 1 && frame[7..].starts_with(ACK)) {
                passed.extend(frame);
            }
        }
        passed
    }
}
