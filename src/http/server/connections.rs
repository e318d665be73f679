//! The open connections of a listener: how many there are, and which of them is closed when there are too many.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Closed, Limits};
use crate::runtime::{locked, open_files};

/// How long a connection may wait for its client in any case. So when many arrive at once, each can send its
/// request before another takes its place; meanwhile the system keeps further ones waiting.
const MIN_AGE: Duration = Duration::from_millis(100);

/// How often the log reports that connections are closed, or cannot be accepted.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Returns how many connections a listener may have: `configured`, but at most half of the files that this
/// process may have open, because the queue and the database need files too.
pub fn max_connections(configured: usize) -> usize {
    configured.min(open_files::limit() / 2).max(1)
}

#[derive(Debug)]
struct Entry {
    /// A request is in progress. Such a connection is never closed for another.
    is_busy: bool,
    /// The client does not read its response. Such a connection is closed first.
    is_unread: bool,
    /// When the connection was opened, or the last request on it was answered.
    since: Instant,
    /// The address whose connections are counted, if they are.
    address: Option<IpAddr>,
    evicted: CancellationToken,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: BTreeMap<u64, Entry>,
    logged: Option<Instant>,
}

/// The open connections of one listener.
#[derive(Debug)]
pub(super) struct Connections {
    limits: Limits,
    table: Mutex<Table>,
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, table: Mutex::default() }
    }

    /// Adds a connection from this address. If there are too many, closes another one that waits for its
    /// client, once that has waited for [`MIN_AGE`]; returns `None` if there is none.
    pub(super) async fn open(self: &Arc<Self>, address: IpAddr) -> Option<Connection> {
        let address = counted(address).filter(|_| self.limits.per_address > 0);
        if let Some(address) = address {
            let mut table = locked(&self.table);
            let is_same = |entry: &Entry| entry.address == Some(address);
            if table.open.values().filter(|entry| is_same(entry)).count() >= self.limits.per_address {
                self.report(&mut table, Closed::PerAddress);
                // At once: others must not wait because of this address.
                table.evict(is_same)?;
            }
        }
        loop {
            match self.try_open(address) {
                Ok(opened) => return opened,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Fails with the time after which to try again.
    fn try_open(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Option<Connection>, Duration> {
        let mut table = locked(&self.table);
        if table.open.len() >= self.limits.connections {
            if let Some(age) = table.age_of_next().filter(|age| *age < MIN_AGE) {
                return Err(MIN_AGE - age);
            }
            self.report(&mut table, Closed::TooMany);
            if table.evict(|_| true).is_none() {
                return Ok(None);
            }
        }
        let id = table.next;
        table.next += 1;
        let (since, evicted) = (Instant::now(), CancellationToken::new());
        let entry = Entry { is_busy: false, is_unread: false, since, address, evicted: evicted.clone() };
        table.open.insert(id, entry);
        Ok(Some(Connection(Arc::new(Opened { id, evicted, connections: Arc::clone(self) }))))
    }

    /// Closes a connection that waits for its client, because no further one could be accepted.
    pub(super) fn make_room(&self, error: &io::Error) {
        let mut table = locked(&self.table);
        if table.is_due_for_log() {
            let connections = table.open.len();
            tracing::warn!(%error, connections, "a connection cannot be accepted; trying again");
        }
        if table.evict(|_| true).is_some() {
            (self.limits.on_close)(Closed::TooMany);
        }
    }

    /// Counts and logs that a connection is closed because there are too many.
    fn report(&self, table: &mut Table, reason: Closed) {
        (self.limits.on_close)(reason);
        if table.is_due_for_log() {
            let (connections, problem) = (table.open.len(), reason.as_str());
            tracing::warn!(problem, connections, "connections are closed because there are too many");
        }
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = locked(&self.table).open.get_mut(&id) {
            change(entry);
        }
    }
}

impl Table {
    /// Returns the connection that is closed next: of those that match and have no request in progress, one
    /// whose client does not read, otherwise the one that has waited the longest.
    fn next_of(&self, matches: impl Fn(&Entry) -> bool) -> Option<(u64, &Entry)> {
        let waiting = self.open.iter().filter(|(_, entry)| !entry.is_busy && matches(entry));
        waiting.min_by_key(|(_, entry)| (!entry.is_unread, entry.since)).map(|(id, entry)| (*id, entry))
    }

    /// Returns how long the connection that is closed next has waited.
    fn age_of_next(&self) -> Option<Duration> {
        let (_, entry) = self.next_of(|_| true)?;
        Some(if entry.is_unread { Duration::MAX } else { entry.since.elapsed() })
    }

    /// Closes that connection. `None` means that there is none.
    fn evict(&mut self, matches: impl Fn(&Entry) -> bool) -> Option<()> {
        let (id, _) = self.next_of(matches)?;
        self.open.remove(&id).map(|entry| entry.evicted.cancel())
    }

    fn is_due_for_log(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.logged.is_none_or(|logged| now - logged >= LOG_INTERVAL);
        if is_due {
            self.logged = Some(now);
        }
        is_due
    }
}

/// An open connection; it counts until the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Connection(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    id: u64,
    evicted: CancellationToken,
    connections: Arc<Connections>,
}

impl Connection {
    /// Completes when the connection has to be closed.
    pub(super) async fn evicted(&self) {
        self.0.evicted.cancelled().await;
    }

    /// Protects the connection from being closed until the returned value is dropped.
    pub(super) fn begin_request(&self) -> Busy {
        self.0.connections.change(self.0.id, |entry| entry.is_busy = true);
        Busy(self.clone())
    }

    /// Records whether the client keeps a response waiting.
    pub(super) fn set_unread(&self, is_unread: bool) {
        self.0.connections.change(self.0.id, |entry| entry.is_unread = is_unread);
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        locked(&self.connections.table).open.remove(&self.id);
    }
}

/// A request in progress.
pub(super) struct Busy(Connection);

impl Drop for Busy {
    fn drop(&mut self) {
        let Connection(opened) = &self.0;
        opened.connections.change(opened.id, |entry| (entry.is_busy, entry.since) = (false, Instant::now()));
    }
}

/// Returns what stands for this address when its connections are counted: `None` for addresses that are not
/// public, because a proxy on the same machine or network has the connections of many clients.
fn counted(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
            let is_private =
                address.is_private() || address.is_loopback() || address.is_link_local() || shared;
            (!is_private).then_some(IpAddr::V4(address))
        }
        IpAddr::V6(address) => {
            let is_private =
                address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local();
            let network = u128::from(address) >> 64 << 64;
            (!is_private).then(|| IpAddr::V6(Ipv6Addr::from(network)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(total: usize, per_address: usize) -> Arc<Connections> {
        let second = Duration::from_secs(1);
        let limits = Limits {
            idle: second,
            head: 0,
            write: second,
            connections: total,
            per_address,
            on_close: |_| {},
        };
        Arc::new(Connections::new(limits))
    }

    async fn open(connections: &Arc<Connections>, address: &str) -> Option<Connection> {
        connections.open(address.parse().unwrap()).await
    }

    fn is_evicted(connection: &Connection) -> bool {
        connection.0.evicted.is_cancelled()
    }

    #[tokio::test]
    async fn a_further_connection_takes_the_place_of_the_one_that_waits_longest() {
        let all = connections(3, 0);
        let first = open(&all, "192.0.2.1").await.unwrap();
        let second = open(&all, "192.0.2.1").await.unwrap();
        let third = open(&all, "192.0.2.1").await.unwrap();
        let busy = first.begin_request();
        third.set_unread(true);
        let fourth = open(&all, "192.0.2.1").await.unwrap();
        assert_eq!([&first, &second, &third].map(is_evicted), [false, false, true], "unread first");
        let fifth = open(&all, "192.0.2.1").await.unwrap();
        assert_eq!([&first, &second, &fourth].map(is_evicted), [false, true, false]);
        let requests = [fourth.begin_request(), fifth.begin_request()];
        assert!(open(&all, "192.0.2.1").await.is_none(), "each has a request in progress");
        drop(busy);
        assert!(open(&all, "192.0.2.1").await.is_some());
        assert!(is_evicted(&first));
        drop(requests);
    }

    #[tokio::test]
    async fn a_new_connection_has_time_to_send_its_request() {
        let all = connections(1, 0);
        let first = open(&all, "192.0.2.1").await.unwrap();
        assert!(all.try_open(None).is_err());
        assert!(!is_evicted(&first));
        first.set_unread(true);
        assert!(all.try_open(None).unwrap().is_some());
        assert!(is_evicted(&first));
    }

    #[tokio::test]
    async fn a_connection_is_closed_when_no_file_is_free_for_another() {
        const TOO_MANY_OPEN_FILES: i32 = 24;
        let all = connections(100, 0);
        let first = open(&all, "192.0.2.1").await.unwrap();
        let second = open(&all, "192.0.2.1").await.unwrap();
        let _busy = first.begin_request();
        all.make_room(&io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES));
        all.make_room(&io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES));
        assert_eq!([&first, &second].map(is_evicted), [false, true]);
    }

    #[tokio::test]
    async fn a_connection_counts_until_it_is_dropped() {
        let all = connections(1, 0);
        drop(open(&all, "192.0.2.1").await);
        let second = open(&all, "192.0.2.1").await.unwrap();
        let _busy = second.begin_request();
        assert!(open(&all, "192.0.2.1").await.is_none());
        assert!(!is_evicted(&second));
    }

    #[tokio::test]
    async fn connections_are_counted_for_each_public_address() {
        for (one, same) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::ffff:1"),
        ] {
            let all = connections(100, 1);
            let first = open(&all, one).await.unwrap();
            let other = open(&all, "198.51.100.7").await.unwrap();
            let _second = open(&all, same).await.unwrap();
            assert_eq!([&first, &other].map(is_evicted), [true, false], "{one} {same}");
        }
        for private in ["127.0.0.1", "10.1.2.3", "172.17.0.1", "100.64.0.1", "::1", "fd00::1"] {
            let all = connections(100, 1);
            let first = open(&all, private).await.unwrap();
            let _second = open(&all, private).await.unwrap();
            assert!(!is_evicted(&first), "{private}");
        }
    }
}
