//! Why a use case could not be done: a code for programs, what it was about in words, and what may be done next.

use super::Refusal;
use crate::event::StaffId;
use crate::matching::HostKey;
use crate::queue::{PublishError, QueueError};
use crate::store::{StoreError, StoreErrorKind};

/// Why a use case could not be done. Its text says what failed and on what, with no personal data; it names no
/// command: [`AppError::next`] says what may be done.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The database's error.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue's.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Something could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// What a person decides cannot be carried out.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What was asked for cannot be written where it is to go.
    #[error("writing the result: {0}")]
    Write(#[from] std::io::Error),
    /// A plan or replay cannot be begun or gone on with as it stands: why, and what can be done.
    #[error("{0}")]
    Replay(String, Option<NextAction>),
    /// What was handed over cannot be read; the text says where.
    #[error("{0}")]
    Unreadable(String),
    /// There is no such thing in what the caller may see: no `mapping 7`.
    #[error("there is no {0}")]
    NotFound(String),
    /// What is needed for it is not there: what that is, and what may be done instead.
    #[error("{0}")]
    Absent(String, Option<NextAction>),
    /// It is not allowed as things are; the text says why.
    #[error("{0}")]
    NotAllowed(String),
    /// What was asked for makes no sense; the text says why.
    #[error("{0}")]
    Invalid(String),
}

/// What kind of failure it is: a front end makes its exit code or status of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum ErrorCode {
    Invalid,
    NotFound,
    NotAllowed,
    ConfigInvalid,
    /// The broker, or the queue's file.
    BrokerUnreachable,
    DatabaseUnreachable,
    Failed,
}

impl From<csv::Error> for AppError {
    fn from(error: csv::Error) -> Self {
        Self::Write(error.into())
    }
}

impl AppError {
    /// What kind of failure it is.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Store(error) if error.kind() == StoreErrorKind::Unavailable => {
                ErrorCode::DatabaseUnreachable
            }
            Self::Queue(QueueError::Url(_)) => ErrorCode::ConfigInvalid,
            Self::Queue(QueueError::Unavailable(_) | QueueError::File { .. })
            | Self::Publish(PublishError::Unavailable(_) | PublishError::Timeout) => {
                ErrorCode::BrokerUnreachable
            }
            Self::Store(_)
            | Self::Queue(QueueError::Closed)
            | Self::Publish(_)
            | Self::Write(_)
            | Self::Unreadable(_) => ErrorCode::Failed,
            Self::Refused(
                Refusal::NoCompany(_)
                | Refusal::NoStaff(_)
                | Refusal::Foreign { .. }
                | Refusal::UnknownHost(..)
                | Refusal::NoMapping(..)
                | Refusal::NotInInbox(_)
                | Refusal::NoSuggestion(_)
                | Refusal::NotSuggested(..),
            ) => ErrorCode::NotFound,
            Self::Refused(Refusal::SeveralSuggestions(..)) => ErrorCode::Invalid,
            Self::Refused(_) => ErrorCode::NotAllowed,
            Self::NotFound(_) | Self::Absent(..) => ErrorCode::NotFound,
            Self::NotAllowed(_) | Self::Replay(..) => ErrorCode::NotAllowed,
            Self::Invalid(_) => ErrorCode::Invalid,
        }
    }

    /// What the caller may do about it, where there is one thing to do.
    pub fn next(&self) -> Option<NextAction> {
        match self {
            Self::Absent(_, next) | Self::Replay(_, next) => next.clone(),
            Self::Refused(
                Refusal::NoSuggestion(key) | Refusal::NotSuggested(key, ..) | Refusal::NotMapped(key),
            ) => Some(NextAction::AssignHost(*key)),
            Self::Refused(Refusal::SeveralSuggestions(key, staff)) => {
                Some(NextAction::ChooseSuggestion(*key, staff.clone()))
            }
            _ => None,
        }
    }
}

/// What may be done next, as a value: the command line names a command, the web UI shows a button.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the others say what they are")]
pub enum NextAction {
    AcceptSuggestion(HostKey),
    /// Take one of several suggestions for this host: one of these.
    ChooseSuggestion(HostKey, Vec<StaffId>),
    AssignHost(HostKey),
    /// Say who this host is, of whom no booking was decided yet.
    MapUnseenHost(HostKey),
    MakePlan,
    BeginPlan(i64),
    ResumeReplay(i64),
    /// Plan the dead letters of this group, when their cause is gone.
    PlanGroup(String),
    ShowLetter(i64),
    /// Open this discarded dead letter again.
    RestoreLetter(i64),
    ReplayLetter(i64),
    /// See how the booking of this dead letter is matched.
    ExplainLetter(i64),
    /// See how the booking with this reference is matched.
    ExplainBooking(String),
    GiveBooking,
    /// Give the booking itself, and its company.
    GiveBookingOfCompany,
}
