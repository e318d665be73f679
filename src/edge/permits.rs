//! The permits of requests in progress. A request gets one before its body is read. As long as its body arrives
//! and it has no valid token, anybody can have sent it: when all permits are taken, the oldest of these requests
//! gives its permit to a new one. So a flood of slow bodies does not keep out webhooks, which can prove their
//! sender only by their body, and whose senders would not send them again.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::runtime::locked;

/// How long a request keeps its permit in any case: enough to check a token, and to read a body that was sent
/// together with its head.
const MIN_AGE: Duration = Duration::from_millis(100);

/// How long a request waits for a permit that others have to give up.
const WAIT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a body may arrive at any rate.
const GRACE: Duration = Duration::from_secs(3);

/// How often the rate of a body is checked after that.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The permits of one edge.
#[derive(Debug)]
pub(super) struct Permits {
    semaphore: Arc<Semaphore>,
    unproven: Arc<Mutex<Unproven>>,
    /// The minimum rate of a body, in bytes per second; 0: no limit.
    min_rate: usize,
}

/// The requests whose sender is not known yet, by age.
#[derive(Debug, Default)]
struct Unproven {
    next: u64,
    requests: BTreeMap<u64, (Instant, CancellationToken)>,
}

impl Permits {
    pub(super) fn new(count: usize, min_rate: usize) -> Self {
        let semaphore = Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self { semaphore, unproven: Arc::default(), min_rate }
    }

    /// Takes a permit. If none is free, takes that of the oldest unproven request, once that has had
    /// [`MIN_AGE`] to prove its sender. `None` means that there is no such request either.
    pub(super) async fn take(&self) -> Option<Arc<RequestPermit>> {
        let mut permit = Arc::clone(&self.semaphore).try_acquire_owned().ok();
        let deadline = Instant::now() + WAIT_TIMEOUT;
        while permit.is_none() && Instant::now() < deadline {
            let until = self.displace_oldest()?;
            let free = timeout_at(until, Arc::clone(&self.semaphore).acquire_owned());
            permit = free.await.ok().and_then(Result::ok);
        }
        let permit = permit?;
        let taken = CancellationToken::new();
        let mut unproven = locked(&self.unproven);
        let id = unproven.next;
        unproven.next += 1;
        unproven.requests.insert(id, (Instant::now(), taken.clone()));
        let (received, is_complete) = (AtomicUsize::new(0), AtomicBool::new(false));
        let unproven = Arc::clone(&self.unproven);
        Some(Arc::new(RequestPermit { id, taken, unproven, received, is_complete, _permit: permit }))
    }

    /// Makes the oldest unproven request give up its permit, unless it is too young. Returns until when to wait
    /// for a permit; `None` means that there is no such request.
    fn displace_oldest(&self) -> Option<Instant> {
        let mut unproven = locked(&self.unproven);
        let oldest = unproven.requests.first_entry()?;
        let (due, now) = (oldest.get().0 + MIN_AGE, Instant::now());
        if due > now {
            return Some(due);
        }
        oldest.remove().1.cancel();
        Some(now + MIN_AGE)
    }

    /// Completes when the request's body is too slow, or when its permit is needed by another request; not after
    /// the body is complete.
    pub(super) async fn cut_off(&self, permit: &RequestPermit) {
        let start = Instant::now();
        let too_slow = async {
            sleep(GRACE).await;
            while permit.has_arrived(self.min_rate, start.elapsed().saturating_sub(GRACE)) {
                sleep(CHECK_INTERVAL).await;
            }
        };
        tokio::select! {
            () = permit.taken.cancelled() => {}
            () = too_slow => {}
        }
        if permit.is_complete.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }
}

/// The permit of a request that is in progress. It is held until all work for the request has ended, even if
/// the response was sent earlier, because that work keeps the body in memory.
#[derive(Debug)]
pub(super) struct RequestPermit {
    id: u64,
    /// Cancelled when another request takes the permit.
    taken: CancellationToken,
    unproven: Arc<Mutex<Unproven>>,
    /// How many bytes of the body have arrived.
    received: AtomicUsize,
    is_complete: AtomicBool,
    _permit: OwnedSemaphorePermit,
}

impl RequestPermit {
    /// Keeps the permit for this request, because its sender is known.
    pub(super) fn keep(&self) {
        locked(&self.unproven).requests.remove(&self.id);
    }

    /// Counts the body as it arrives.
    pub(super) fn count(self: &Arc<Self>, body: Body) -> Body {
        Body::new(CountedBody { body, permit: Arc::clone(self) })
    }

    /// Returns whether as much of the body has arrived as is due after this time, or all of it.
    fn has_arrived(&self, rate: usize, after: Duration) -> bool {
        let due = u128::try_from(rate).unwrap_or(u128::MAX).saturating_mul(after.as_millis()) / 1000;
        self.is_complete.load(Ordering::Relaxed) || self.received.load(Ordering::Relaxed) as u128 >= due
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.keep();
    }
}

/// A body that counts its bytes for the request's permit.
struct CountedBody {
    body: Body,
    permit: Arc<RequestPermit>,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.permit.received.fetch_add(bytes, Ordering::Relaxed);
        }
        if frame.is_none() || self.body.is_end_stream() {
            self.permit.is_complete.store(true, Ordering::Relaxed);
            self.permit.keep();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
