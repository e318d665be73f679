//! Measures the floors, upper bounds for a worker's speed: the same messages, consumed and acknowledged in
//! the same way, but with little or no work, and without any of the worker's guarantees.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::Result;
use crate::bookings::{Booking, Kind};
use crate::broker::Broker;
use crate::rows::{self, Decision};
use crate::salon::Salon;

/// The work that a floor does for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Floor {
    /// (a) Does nothing.
    Consume,
    /// (b) Parses, looks up in memory, and runs one UPDATE of appointments.
    Update,
    /// (c) Does the same, and writes the worker's rows.
    Rows,
}

/// The settings of a floor's consumers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchSettings {
    pub(crate) pipelines: usize,
    pub(crate) batch: usize,
    pub(crate) prefetch: u16,
}

/// The data that is in memory from the start.
struct InMemoryData {
    /// The appointment and the company by reference.
    appointments: HashMap<String, (u64, u64)>,
    /// The member of staff by company and address.
    staff: HashMap<(u64, String), u64>,
    /// Hosts that have a mapping.
    mapped: Mutex<HashSet<u64>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    event_id: &'a str,
    calcom_booking: Body<'a>,
}

#[derive(Deserialize)]
struct Body<'a> {
    uid: &'a str,
    hosts: Vec<Host<'a>>,
}

#[derive(Deserialize)]
struct Host<'a> {
    id: u64,
    name: &'a str,
    email: &'a str,
}

/// Drains this many messages with the work of this floor.
///
/// # Errors
/// Fails if the broker or the database fails.
pub(crate) async fn drain(
    floor: Floor,
    broker: &Broker,
    salon: Arc<Salon>,
    events: u64,
    settings: BatchSettings,
) -> Result<()> {
    let remaining = Arc::new(AtomicU64::new(events));
    let known = Arc::new(InMemoryData::of(salon.appointments));
    let mut pipelines = tokio::task::JoinSet::new();
    for number in 0..settings.pipelines {
        let channel = broker.connection.create_channel().await?;
        channel.basic_qos(settings.prefetch, BasicQosOptions::default()).await?;
        let (queue, tag) = (broker.work_queue(), format!("floor-{number}"));
        let options = BasicConsumeOptions::default();
        let mut consumer =
            channel.basic_consume(queue.into(), tag.into(), options, FieldTable::default()).await?;
        let (remaining, known, salon) = (remaining.clone(), known.clone(), salon.clone());
        pipelines.spawn(async move {
            while remaining.load(Ordering::SeqCst) > 0 {
                let next = tokio::time::timeout(std::time::Duration::from_millis(20), consumer.next()).await;
                let Ok(next) = next else { continue };
                let mut batch = vec![next.ok_or("the consumer ended")??];
                while batch.len() < settings.batch
                    && let Some(Some(next)) = consumer.next().now_or_never()
                {
                    batch.push(next?);
                }
                process(floor, &batch, &known, &salon).await?;
                if let Some(last) = batch.last() {
                    last.acker.ack(BasicAckOptions { multiple: true }).await?;
                }
                remaining.fetch_sub(batch.len() as u64, Ordering::SeqCst);
            }
            channel.close(200, "done".into()).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        });
    }
    while let Some(ended) = pipelines.join_next().await {
        ended??;
    }
    Ok(())
}

async fn process(floor: Floor, batch: &[Delivery], known: &InMemoryData, salon: &Salon) -> Result<()> {
    if floor == Floor::Consume {
        return Ok(());
    }
    let mut decisions: Vec<Decision<'_>> = batch.iter().filter_map(|one| known.decide(&one.data)).collect();
    if decisions.is_empty() {
        return Ok(());
    }
    if floor == Floor::Update {
        return rows::update(salon.scratch.database.connection(), &decisions).await;
    }
    // The lock is held until the end, so that even without guarantees each host gets only one first mapping.
    let mut mapped = known.mapped.lock().await;
    for decision in &mut decisions {
        decision.is_new = decision.staff.is_some() && decision.host.is_some_and(|host| mapped.insert(host.0));
    }
    if !decisions.iter().any(|decision| decision.is_new) {
        drop(mapped);
    }
    rows::write(&salon.scratch.database, &decisions).await
}

impl InMemoryData {
    fn of(appointments: u64) -> Self {
        let all = || (0..appointments).map(Booking::nth);
        let staff = (1..=crate::bookings::COMPANIES)
            .flat_map(|company| (1..=crate::bookings::STAFF).map(move |member| (company, member)));
        Self {
            appointments: all().map(|one| (one.uid(), (one.appointment, one.company))).collect(),
            staff: staff
                .map(|(company, member)| {
                    let email = crate::bookings::email(company, member);
                    ((company, email), crate::salon::staff_id(company, member))
                })
                .collect(),
            mapped: Mutex::default(),
        }
    }

    fn decide<'a>(&self, body: &'a [u8]) -> Option<Decision<'a>> {
        let event: Event<'a> = serde_json::from_slice(body).ok()?;
        let uid = event.calcom_booking.uid;
        let (appointment, company) = *self.appointments.get(uid)?;
        let host = event.calcom_booking.hosts.first();
        let staff = host.and_then(|host| self.staff.get(&(company, host.email.to_owned())).copied());
        Some(Decision {
            event: event.event_id,
            uid,
            appointment,
            company,
            host: host.map(|host| (host.id, host.name, host.email)),
            staff,
            is_new: false,
            body,
        })
    }
}

/// Returns the number of events that can be read; a floor ignores the others.
pub(crate) fn count_readable(events: u64) -> u64 {
    (0..events).filter(|n| Booking::nth(*n).kind != Kind::Malformed).count() as u64
}
