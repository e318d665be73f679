//! A TCP proxy that misbehaves on demand, immediately or when certain bytes pass.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
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
const SLOW_CLOSE_DURATION: Duration = Duration::from_secs(5);

/// The treatment of the bytes that arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They pass.
    Pass,
    /// They are held back: the connection is open and silent. They are forwarded when the mode is `Pass` again.
    Stall,
    /// Only bytes from the client are held back; the server's pass.
    StallUpstream,
    /// Only bytes from the server are held back.
    StallDownstream,
    /// New connections are closed immediately. Existing ones stay: see [`Proxy::cut`].
    Refuse,
    /// They pass, each chunk with this delay.
    Latency(Duration),
    /// They pass at this many bytes per second, in each direction.
    Throttle(usize),
    /// On an AMQP connection: the client's acknowledgements are dropped, everything else passes.
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
    /// It stays open, but is silent from now on.
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
    control: Arc<Control>,
    accepting: JoinHandle<()>,
}

/// What all connections of a proxy share.
struct Control {
    state: watch::Sender<State>,
    plan: Mutex<Option<(When, Fault)>>,
    refused: AtomicUsize,
}

#[derive(Clone, Copy)]
struct State {
    mode: Mode,
    /// Connections of an older generation are closed.
    generation: u64,
    fault: Fault,
}

impl Control {
    fn fault(&self, fault: Fault) {
        self.state.send_modify(|state| match fault {
            Fault::Stall => state.mode = Mode::Stall,
            _ => (state.generation, state.fault) = (state.generation + 1, fault),
        });
    }

    /// Returns the number of these bytes to forward before the planned fault, and the fault; `None` if the fault
    /// does not happen within these bytes.
    fn planned_fault(&self, bytes: &[u8], upstream: bool) -> Option<(usize, Fault)> {
        let mut plan = self.plan.lock().unwrap();
        let (when, fault) = plan.as_mut()?;
        let fault = *fault;
        let contains = |pattern: &[u8]| bytes.windows(pattern.len()).any(|window| window == pattern);
        let pass = match when {
            When::Bytes(left) if *left > bytes.len() => {
                *left -= bytes.len();
                return None;
            }
            When::Bytes(left) => *left,
            When::Sends(pattern) if upstream && contains(pattern) => 0,
            When::Answers(pattern) if !upstream && contains(pattern) => 0,
            When::Sent(pattern) if upstream && contains(pattern) => bytes.len(),
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
        let control = Arc::new(Control { state, plan: Mutex::default(), refused: AtomicUsize::new(0) });
        let accepting = tokio::spawn(accept(listener, target.to_owned(), control.clone()));
        Self { address, control, accepting }
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
        self.control.state.send_modify(|state| state.mode = mode);
    }

    /// Returns the number of connections that were refused.
    pub(crate) fn refused(&self) -> usize {
        self.control.refused.load(Ordering::SeqCst)
    }

    /// Cuts every existing connection.
    pub(crate) fn cut(&self) {
        self.control.fault(Fault::Cut);
    }

    /// Applies the fault to every existing connection when that point is reached.
    pub(crate) fn plan(&self, when: When, fault: Fault) {
        *self.control.plan.lock().unwrap() = Some((when, fault));
    }

    /// Waits until the planned fault has happened.
    pub(crate) async fn wait_for_fault(&self) {
        eventually("the planned fault has happened", Duration::from_secs(60), async || {
            self.control.plan.lock().unwrap().is_none().then_some(())
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

async fn accept(listener: TcpListener, target: String, control: Arc<Control>) {
    while let Ok((client, _)) = listener.accept().await {
        if control.state.borrow().mode == Mode::Refuse {
            control.refused.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        let (target, control) = (target.clone(), control.clone());
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(&target).await else { return };
            forward_both(client, server, &control).await;
        });
    }
}

/// Forwards in both directions until one side closes or a fault ends the connection, then closes it.
async fn forward_both(mut client: TcpStream, mut server: TcpStream, control: &Control) {
    let own_generation = control.state.borrow().generation;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        () = forward(from_client, to_server, control, true) => {}
        () = forward(from_server, to_client, control, false) => {}
    }
    let State { generation, fault, .. } = *control.state.borrow();
    match fault {
        Fault::Reset if generation != own_generation => {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
        Fault::SlowClose if generation != own_generation => {
            let _ = (client.shutdown().await, server.shutdown().await);
            sleep(SLOW_CLOSE_DURATION).await;
        }
        _ => {}
    }
}

async fn forward(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, control: &Control, upstream: bool) {
    let mut state = control.state.subscribe();
    let own_generation = state.borrow_and_update().generation;
    let mut buffer = vec![0; 16 * 1024];
    let mut frames = upstream.then(Frames::default);
    loop {
        let now = *state.borrow_and_update();
        if now.generation != own_generation {
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
                let fault = control.planned_fault(&bytes, upstream);
                let pass = fault.map_or(bytes.len(), |(pass, _)| pass);
                if write(&mut to, &bytes[..pass], now.mode).await.is_err() { return; }
                match fault {
                    // Bytes held back are forwarded once the mode is `Pass` again.
                    Some((_, Fault::Stall)) => {
                        control.fault(Fault::Stall);
                        let passing = state.wait_for(|state| state.mode == Mode::Pass || state.generation != own_generation);
                        // Bytes held back on a connection that is cut are lost with it.
                        let is_whole = passing.await.is_ok_and(|now| now.generation == own_generation);
                        if !is_whole || to.write_all(&bytes[pass..]).await.is_err() { return; }
                    }
                    Some((_, fault)) => control.fault(fault),
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
    is_begun: bool,
    is_other_protocol: bool,
}

impl Frames {
    /// Returns the part of these bytes to forward: whole frames.
    fn pass(&mut self, bytes: Vec<u8>, swallow_acks: bool) -> Vec<u8> {
        if !self.is_begun {
            self.is_begun = true;
            self.is_other_protocol = !bytes.starts_with(b"AMQP");
            return bytes;
        }
        if self.is_other_protocol {
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
