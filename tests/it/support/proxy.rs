//! A TCP proxy that misbehaves on demand, immediately or when certain bytes pass.

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

/// `basic.ack` as encoded in an AMQP frame: from the client it is an acknowledgement, from the broker the
/// confirm of a publish.
pub(crate) const ACK: &[u8] = &[0, 60, 0, 80];
/// `basic.publish`.
pub(crate) const PUBLISH: &[u8] = &[0, 60, 0, 40];
/// `basic.deliver`.
pub(crate) const DELIVER: &[u8] = &[0, 60, 0, 60];
/// The end of a transaction, on MariaDB and PostgreSQL alike.
pub(crate) const COMMIT: &[u8] = b"COMMIT";

/// The time for which a slow close leaves the connection half open.
const SLOWLY: Duration = Duration::from_secs(5);

/// The treatment of the bytes that arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They pass.
    Pass,
    /// They are held: the connection is open and silent. They are forwarded when the mode is `Pass` again.
    Stall,
    /// Only bytes from the client are held; the server's pass.
    StallUpstream,
    /// Only bytes from the server are held.
    StallDownstream,
    /// New connections are closed immediately. Existing ones stay: see [`Proxy::cut`].
    Refuse,
    /// They pass, each chunk with this delay.
    Latency(Duration),
    /// They pass at this many bytes per second, in each direction.
    Throttle(usize),
    /// On an AMQP connection: the client's acknowledgements are swallowed, everything else passes.
    SwallowAcks,
}

/// The way in which a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is closed cleanly (FIN).
    Cut,
    /// It is reset (RST).
    Reset,
    /// From now on neither side receives anything, but both can still write for a while.
    SlowClose,
    /// It does not end: from now on it is open and silent.
    Stall,
}

/// The point at which a planned fault happens, once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// After this many bytes, summed over all connections and both directions.
    Bytes(usize),
    /// When the client sends this, before it is forwarded.
    Sends(&'static [u8]),
    /// When the client has sent this and the server has received it.
    Sent(&'static [u8]),
    /// When the server sends this, before it is forwarded.
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
    plan: Mutex<Option<(When, Fault)>>,
}

#[derive(Clone, Copy)]
struct State {
    mode: Mode,
    /// Connections of an older generation are closed.
    generation: u64,
    fault: Fault,
}

impl Connection {
    fn fault(&self, fault: Fault) {
        self.state.send_modify(|state| match fault {
            Fault::Stall => state.mode = Mode::Stall,
            _ => (state.generation, state.fault) = (state.generation + 1, fault),
        });
    }

    /// Returns the number of these bytes that may pass before the planned fault, and the fault; `None` if all
    /// may pass.
    fn allows(&self, bytes: &[u8], upstream: bool) -> Option<(usize, Fault)> {
        let mut plan = self.plan.lock().unwrap();
        let (when, fault) = plan.as_mut()?;
        let fault = *fault;
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
        Some((pass, fault))
    }
}

impl Proxy {
    /// Starts a proxy for `target` (`host:port`) that forwards everything.
    pub(crate) async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, _) = watch::channel(State { mode: Mode::Pass, generation: 0, fault: Fault::Cut });
        let line = Arc::new(Connection { state, plan: Mutex::default() });
        let accepting = tokio::spawn(accept(listener, target.to_owned(), line.clone()));
        Self { address, line, accepting }
    }

    /// Returns `url` with the proxy in place of its host and port.
    pub(crate) fn url(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").unwrap();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let user = rest[..end].rsplit_once('@').map_or(String::new(), |(user, _)| format!("{user}@"));
        format!("{scheme}://{user}{}{}", self.address, &rest[end..])
    }

    /// Returns the `host:port` of a URL, for [`Proxy::start`].
    pub(crate) fn target(url: &str) -> String {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_owned()
    }

    /// Sets the mode from now on.
    pub(crate) fn set(&self, mode: Mode) {
        self.line.state.send_modify(|state| state.mode = mode);
    }

    /// Cuts every existing connection.
    pub(crate) fn cut(&self) {
        self.line.fault(Fault::Cut);
    }

    /// Applies the fault to every existing connection when that point is reached.
    pub(crate) fn plan(&self, when: When, fault: Fault) {
        *self.line.plan.lock().unwrap() = Some((when, fault));
    }

    /// Waits until the planned fault has happened.
    pub(crate) async fn until_fault(&self) {
        eventually("the planned fault has happened", Duration::from_secs(60), async || {
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

/// Forwards until one side closes or the connection is ended, then closes it.
async fn connection(mut client: TcpStream, mut server: TcpStream, line: &Connection) {
    let born = line.state.borrow().generation;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        () = forward(from_client, to_server, line, true) => {}
        () = forward(from_server, to_client, line, false) => {}
    }
    let State { generation, fault, .. } = *line.state.borrow();
    match fault {
        Fault::Reset if generation != born => {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
        Fault::SlowClose if generation != born => {
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
                let fault = line.allows(&bytes, upstream);
                let pass = fault.map_or(bytes.len(), |(pass, _)| pass);
                if write(&mut to, &bytes[..pass], now.mode).await.is_err() { return; }
                match fault {
                    // Held bytes are forwarded once the mode is `Pass` again.
                    Some((_, Fault::Stall)) => {
                        line.fault(Fault::Stall);
                        let passing = state.wait_for(|state| state.mode == Mode::Pass || state.generation != born);
                        // Bytes held on a connection that is cut are lost with it.
                        let is_whole = passing.await.is_ok_and(|now| now.generation == born);
                        if !is_whole || to.write_all(&bytes[pass..]).await.is_err() { return; }
                    }
                    Some((_, fault)) => line.fault(fault),
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

/// The client's side of an AMQP connection, frame by frame; other protocols pass unchanged.
#[derive(Default)]
struct Frames {
    rest: Vec<u8>,
    begun: bool,
    other: bool,
}

impl Frames {
    /// Returns the part of these bytes to forward: whole frames.
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
