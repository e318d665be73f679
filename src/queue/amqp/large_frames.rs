//! Connects so that frames may be received that are a little larger than agreed.
//!
//! The headers of a message have to fit into one frame. RabbitMQ adds headers of its own when it delivers a message
//! again or dead-letters it, without regard to `frame_max`. lapin closes the connection when it receives a larger
//! frame, and as the message is then delivered once more, nothing else would ever be received. lapin's limit cannot
//! be set, so here it is given a higher one than the broker: the bytes pass through a pair of sockets, and
//! `frame_max` is changed in the handshake. Only for connections that publish nothing, because the broker accepts
//! no larger frames.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;

use async_compat::Compat;
use lapin::tcp::AMQPUriTcpExt as _;
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, runtime};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, split};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;

/// How much larger than agreed a frame may be, in bytes. RabbitMQ adds less than 4 KiB: names of queues, exchanges
/// and routing keys, each of at most 255 bytes.
const EXTRA: u32 = 16 * 1024;

/// The class and the method with which the broker proposes `frame_max`.
const TUNE: [u8; 4] = [0, 10, 0, 30];
/// Those with which a client agrees to it.
const TUNE_OK: [u8; 4] = [0, 10, 0, 31];

/// The size of the protocol header, which a client sends before its first frame, in bytes.
const PROTOCOL_HEADER: usize = 8;

/// Connects like [`Connection::connect_uri`].
pub(super) async fn connect(address: AMQPUri, properties: ConnectionProperties) -> lapin::Result<Connection> {
    let handle = Handle::current();
    let open = async move |address: AMQPUri, runtime| {
        let broker = address.connect_async(&runtime).await?;
        let (ours, lapins) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        lapins.set_nonblocking(true)?;
        let _entered = handle.enter();
        let lapins = TcpStream::from_std(OwnedFd::from(lapins).into())?;
        handle.spawn(pass_on(Compat::new(broker), UnixStream::from_std(ours)?));
        Ok(AsyncTcpStream::Plain(Compat::new(lapins)))
    };
    Connection::connector(address, runtime::default_runtime()?, open, properties).await
}

/// Passes everything on in both directions until one side closes its connection.
async fn pass_on(
    broker: impl AsyncRead + AsyncWrite,
    client: impl AsyncRead + AsyncWrite,
) -> io::Result<u64> {
    let (mut from_broker, mut to_broker) = split(broker);
    let (mut from_client, mut to_client) = split(client);
    let receive = async {
        // Without a limit, 0, there is nothing to raise.
        let raise = |frame_max: u32| if frame_max == 0 { 0 } else { frame_max.saturating_add(EXTRA) };
        change_frame_max(&mut from_broker, &mut to_client, TUNE, raise).await?;
        copy(&mut from_broker, &mut to_client).await
    };
    let send = async {
        let mut header = [0; PROTOCOL_HEADER];
        from_client.read_exact(&mut header).await?;
        to_broker.write_all(&header).await?;
        to_broker.flush().await?;
        let lower = |frame_max: u32| frame_max.saturating_sub(EXTRA);
        change_frame_max(&mut from_client, &mut to_broker, TUNE_OK, lower).await?;
        copy(&mut from_client, &mut to_broker).await
    };
    tokio::select! {
        received = receive => received,
        sent = send => sent,
    }
}

/// Passes frames on, up to and including the one with `method`, whose `frame_max` it changes.
async fn change_frame_max(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    method: [u8; 4],
    change: impl Fn(u32) -> u32,
) -> io::Result<()> {
    loop {
        // Type, channel, and size of the payload. The payload of a method begins with its class and its number;
        // these two have `channel_max` and then `frame_max` as their first fields.
        let mut frame = vec![0; 1 + 2 + 4];
        reader.read_exact(&mut frame).await?;
        let size = u32::from_be_bytes([frame[3], frame[4], frame[5], frame[6]]);
        reader.take(u64::from(size) + 1).read_to_end(&mut frame).await?;
        let is_method = frame[7..].starts_with(&method);
        let field = frame.get_mut(7 + 4 + 2..).and_then(|rest| rest.first_chunk_mut::<4>());
        if let Some(field) = field.filter(|_| is_method) {
            *field = change(u32::from_be_bytes(*field)).to_be_bytes();
        }
        writer.write_all(&frame).await?;
        writer.flush().await?;
        if is_method {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// A frame of the method, with `channel_max` 2047, this `frame_max` and `heartbeat` 60.
    fn frame(method: [u8; 4], frame_max: u32) -> Vec<u8> {
        let payload = [&method[..], &[7, 255], &frame_max.to_be_bytes(), &[0, 60]].concat();
        [&[1, 0, 0, 0, 0, 0, 12][..], &payload, &[0xce]].concat()
    }

    #[tokio::test]
    async fn frame_max_is_higher_for_the_client_and_nothing_else_differs() {
        for (broker_says, client_gets) in [(131_072, 147_456), (0, 0)] {
            // Everything arrives byte by byte.
            let (broker, mut at_broker) = duplex(1);
            let (client, mut at_client) = duplex(1);
            let passing = tokio::spawn(pass_on(broker, client));
            let start = [&[1, 0, 0, 0, 0, 0, 6, 0, 10, 0, 10, 0, 9][..], &[0xce]].concat();
            let mut got = [0; 14 + 20 + 4];
            let sent = [&start[..], &frame(TUNE, broker_says), b"more"].concat();
            let (written, read) = tokio::join!(at_broker.write_all(&sent), at_client.read_exact(&mut got));
            written.and(read.map(drop)).unwrap();
            assert_eq!(got[..], [&start[..], &frame(TUNE, client_gets), b"more"].concat());
            let mut got = [0; 8 + 14 + 20 + 4];
            let sent = [b"AMQP\0\0\x09\x01", &start[..], &frame(TUNE_OK, 147_456), b"more"].concat();
            let (written, read) = tokio::join!(at_client.write_all(&sent), at_broker.read_exact(&mut got));
            written.and(read.map(drop)).unwrap();
            assert_eq!(
                got[..],
                [b"AMQP\0\0\x09\x01", &start[..], &frame(TUNE_OK, 131_072), b"more"].concat()
            );
            drop(at_broker);
            assert_eq!(at_client.read(&mut [0]).await.unwrap(), 0);
            passing.await.unwrap().unwrap();
        }
    }
}
