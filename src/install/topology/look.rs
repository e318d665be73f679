//! Looking at a broker over AMQP, for `hostmatch doctor` and `hostmatch topology`: what is there,
//! and what our user may do with it. No message is moved, and only [`Look::make`] makes anything.
//!
//! What may be done is asked by requests that the broker has to refuse for a reason that it looks
//! at after the rights: a publish whose `expiration` is no number and whose `user_id` is not ours,
//! a consumer whose priority is no number. "Access refused" then means that the right is missing,
//! and "precondition failed" that it is there.

use std::time::Duration;

use lapin::options::{
    BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ExchangeKind};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::greeting::{self, Server};
use crate::config::QueueConfig;
use crate::queue::QueueError;
use crate::queue::amqp::{Problem, Settings, code, open};
use crate::queue::topology::{QueueSpec, Topology};

/// How often a publish that may be held up is looked after.
const GLANCE: Duration = Duration::from_millis(20);
/// How long the broker may take to say that it takes no messages, after it has had one.
const BLOCK_NOTICE: Duration = Duration::from_millis(500);

/// Why a broker cannot be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct LookError {
    /// What failed, and what to do next.
    pub text: String,
    /// The broker is there, and does not let us in.
    pub refused: bool,
}

/// What stands under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Missing,
    /// We may not even look.
    Hidden,
    /// Something.
    Here(Here),
}

impl Seen {
    /// Whether it is known to be what we want, or not to be.
    pub(super) fn is_compared(&self) -> bool {
        match self {
            Self::Missing => true,
            Self::Hidden => false,
            Self::Here(here) => here.compared,
        }
    }
}

/// Something that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Here {
    /// Of a queue: messages that are ready.
    pub messages: u32,
    /// Of a queue: consumers.
    pub consumers: u32,
    /// It is not what we want: what the broker says of the first difference.
    pub differs: Option<String>,
    /// Whether it was compared with what we want; without the right to configure it cannot be.
    pub compared: bool,
}

/// Whether our user may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// It may.
    Granted,
    /// It may not.
    Denied,
    /// That could not be found out.
    Unknown,
}

/// What became of a publish that had to be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// One like it with right properties would be taken.
    Allowed,
    /// Our user has no right to write there.
    Denied,
    /// The broker takes no messages of this size.
    TooLarge {
        /// What it says of it: both sizes.
        said: String,
    },
    /// There is no such exchange.
    Missing,
    /// The broker takes no messages now: it is short of memory or disk.
    Blocked,
    /// No answer in time.
    Silent,
}

/// A connection that only looks.
pub struct Look {
    settings: Settings,
    connection: Connection,
}

impl Look {
    /// Connects once, without waiting for a broker that is away.
    ///
    /// # Errors
    /// [`LookError`]
    pub async fn at(config: &QueueConfig) -> Result<Self, LookError> {
        let settings = Settings::of(config)
            .map_err(|error: QueueError| LookError { text: error.to_string(), refused: true })?;
        match timeout(settings.connect_timeout, open("look", &settings)).await {
            Ok(Ok(connection)) => Ok(Self { settings, connection }),
            Ok(Err(error)) => Err(refusal(Problem::of(&error, &settings))),
            Err(_) => Err(LookError { text: no_answer(&settings), refused: false }),
        }
    }

    /// What is wanted.
    pub fn topology(&self) -> &Topology {
        &self.settings.topology
    }

    /// Host and port.
    pub fn place(&self) -> String {
        let authority = &self.settings.address.authority;
        format!("{}:{}", authority.host, authority.port)
    }

    /// The virtual host.
    pub fn vhost(&self) -> &str {
        &self.settings.address.vhost
    }

    /// Our user's name.
    pub fn user(&self) -> &str {
        &self.settings.address.authority.userinfo.username
    }

    /// How many channels the broker lets one connection have.
    pub fn channels(&self) -> u16 {
        self.connection.configuration().channel_max()
    }

    /// What the broker says it is.
    pub async fn server(&self) -> Option<Server> {
        greeting::ask(self.settings.address.clone(), self.settings.connect_timeout).await
    }

    /// The exchange that publishers write to.
    ///
    /// # Errors
    /// [`LookError`]
    pub async fn exchange(&self) -> Result<Seen, LookError> {
        let name = &self.settings.topology.exchange;
        let declare = async |options: ExchangeDeclareOptions| {
            let channel = self.connection.create_channel().await?;
            channel
                .exchange_declare(name.as_str().into(), ExchangeKind::Topic, options, FieldTable::default())
                .await
        };
        let looks = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        match self.seen(declare(looks)).await? {
            Err(absent) => Ok(absent),
            Ok(()) => self.compared(Here::default(), declare(durable)).await,
        }
    }

    /// A queue.
    ///
    /// # Errors
    /// [`LookError`]
    pub async fn queue(&self, spec: &QueueSpec) -> Result<Seen, LookError> {
        let declare = async |options: QueueDeclareOptions, arguments: FieldTable| {
            let channel = self.connection.create_channel().await?;
            channel.queue_declare(spec.name.as_str().into(), options, arguments).await
        };
        let durable = QueueDeclareOptions::durable();
        match self.seen(declare(durable.passive(), FieldTable::default())).await? {
            Err(absent) => Ok(absent),
            Ok(queue) => {
                let (messages, consumers) = (queue.message_count(), queue.consumer_count());
                let here = Here { messages, consumers, ..Here::default() };
                // What is there already is declared once more: that changes nothing, and the broker compares.
                let again = async { declare(durable, spec.table()).await.map(drop) };
                self.compared(here, again).await
            }
        }
    }

    /// Whether our user may write to this exchange (`""` is the default one) a message of so many
    /// bytes, and whether the broker takes messages at all now. No queue gets it.
    ///
    /// # Errors
    /// [`LookError`]
    pub async fn write(&self, exchange: &str, bytes: usize) -> Result<Written, LookError> {
        let nobody = Uuid::new_v4().simple().to_string();
        let refused = BasicProperties::default().with_expiration("never".into()).with_user_id("-".into());
        let body = vec![0; bytes];
        let publish = async {
            let channel = self.connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let options = BasicPublishOptions::default();
            let sent = channel.basic_publish(exchange.into(), nobody.into(), options, &body, refused).await?;
            sent.await.map(drop)
        };
        let mut publish = Box::pin(publish);
        let until = Instant::now() + self.settings.connect_timeout;
        let answer = loop {
            match timeout(GLANCE, &mut publish).await {
                Ok(answer) => break Some(answer),
                Err(_) if self.connection.status().blocked() || Instant::now() >= until => break None,
                Err(_) => {}
            }
        };
        // A blocked connection may have let the first one through.
        let notice = Instant::now() + BLOCK_NOTICE;
        let mut open = Box::pin(self.connection.create_channel());
        while !self.connection.status().blocked() && Instant::now() < notice {
            if timeout(GLANCE, &mut open).await.is_ok() {
                break;
            }
        }
        if self.connection.status().blocked() {
            return Ok(Written::Blocked);
        }
        match answer {
            None => Ok(Written::Silent),
            Some(Ok(())) => Ok(Written::Allowed),
            Some(Err(error)) => match code(&error) {
                Some(403) => Ok(Written::Denied),
                Some(404) => Ok(Written::Missing),
                Some(406) if said(&error).contains("size") => Ok(Written::TooLarge { said: said(&error) }),
                Some(406) => Ok(Written::Allowed),
                _ => Err(refusal(Problem::of(&error, &self.settings))),
            },
        }
    }

    /// Whether our user may consume from this queue. Nothing is taken from it.
    ///
    /// # Errors
    /// [`LookError`]
    pub async fn read(&self, queue: &str) -> Result<Right, LookError> {
        let asked = async {
            let channel = self.connection.create_channel().await?;
            channel.basic_qos(1, BasicQosOptions::default()).await?;
            let mut refused = FieldTable::default();
            refused.insert("x-priority".into(), AMQPValue::LongString("none".into()));
            refused.insert("x-cancel-on-ha-failover".into(), AMQPValue::LongString("none".into()));
            let tag = "look";
            channel.basic_consume(queue.into(), tag.into(), BasicConsumeOptions::default(), refused).await?;
            // A broker that understood it after all: gone again, and nothing was acknowledged.
            channel.basic_cancel(tag.into(), BasicCancelOptions::default()).await
        };
        match self.in_time(asked).await? {
            Ok(()) => Ok(Right::Granted),
            Err(error) => match code(&error) {
                Some(403) => Ok(Right::Denied),
                Some(406) => Ok(Right::Granted),
                Some(404) => Ok(Right::Unknown),
                _ => Err(refusal(Problem::of(&error, &self.settings))),
            },
        }
    }

    /// Makes what is missing of the topology: each thing by itself, so that one that cannot be made
    /// keeps back no other. Gives what went wrong, in words.
    ///
    /// # Errors
    /// [`LookError`], when the broker is gone meanwhile.
    pub async fn make(&self) -> Result<Vec<String>, LookError> {
        let topology = &self.settings.topology;
        let mut problems = Vec::new();
        let mut note = |made: lapin::Result<()>| {
            if let Err(error) = made {
                problems.push(Problem::of(&error, &self.settings).text);
            }
        };
        note(self.in_time(async { topology.make_exchange(&self.channel().await?).await }).await?);
        for queue in &topology.queues {
            note(self.in_time(async { queue.make(&self.channel().await?).await }).await?);
        }
        note(self.in_time(async { topology.bind(&self.channel().await?).await }).await?);
        Ok(problems)
    }

    /// Takes leave.
    pub async fn close(self) {
        // A blocked broker does not answer; nothing is lost with the connection.
        let _gone = timeout(Duration::from_secs(2), self.connection.close(200, "bye".into())).await;
    }

    async fn channel(&self) -> lapin::Result<Channel> {
        self.connection.create_channel().await
    }

    /// What a look came to, or what is the case instead.
    async fn seen<T>(
        &self,
        look: impl Future<Output = lapin::Result<T>>,
    ) -> Result<Result<T, Seen>, LookError> {
        match self.in_time(look).await? {
            Ok(seen) => Ok(Ok(seen)),
            Err(error) => match code(&error) {
                Some(404) => Ok(Err(Seen::Missing)),
                Some(403) => Ok(Err(Seen::Hidden)),
                // It is exclusive to another connection.
                Some(405) => {
                    let differs = Some(said(&error));
                    Ok(Err(Seen::Here(Here { differs, compared: true, ..Here::default() })))
                }
                _ => Err(refusal(Problem::of(&error, &self.settings))),
            },
        }
    }

    async fn compared(
        &self,
        here: Here,
        again: impl Future<Output = lapin::Result<()>>,
    ) -> Result<Seen, LookError> {
        match self.in_time(again).await? {
            Ok(()) => Ok(Seen::Here(Here { compared: true, ..here })),
            Err(error) => match code(&error) {
                Some(403) => Ok(Seen::Here(here)),
                Some(406) => Ok(Seen::Here(Here { differs: Some(said(&error)), compared: true, ..here })),
                _ => Err(refusal(Problem::of(&error, &self.settings))),
            },
        }
    }

    async fn in_time<T>(&self, asked: impl Future<Output = T>) -> Result<T, LookError> {
        let limit = self.settings.connect_timeout;
        timeout(limit, asked).await.map_err(|_| LookError { text: no_answer(&self.settings), refused: false })
    }
}

fn refusal(problem: Problem) -> LookError {
    LookError { text: problem.text, refused: problem.configuration }
}

fn no_answer(settings: &Settings) -> String {
    let authority = &settings.address.authority;
    format!("{}:{} did not answer within queue.connect_timeout", authority.host, authority.port)
}

/// The broker's own words.
fn said(error: &lapin::Error) -> String {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        _ => error.to_string(),
    }
}
