//! The errors of use cases. Each has a code for programs, a message for people and, in some cases, a next step.

use super::Refusal;
use crate::event::{AppointmentId, StaffId};
use crate::matching::HostKey;
use crate::queue::{PublishError, QueueError};
use crate::store::{StoreError, StoreErrorKind};

/// Why a use case failed. The text says what failed and on what, without personal data. It does not contain a
/// command: [`AppError::next`] returns the next step.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// An error of the database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An error of the queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A message could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A decision cannot be carried out.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The result cannot be written to its destination.
    #[error("the result cannot be written: {0}")]
    Write(#[from] std::io::Error),
    /// A plan or replay cannot be started or resumed in its present state: the reason, and the next step.
    #[error("{0}")]
    Replay(String, Option<NextAction>),
    /// The input cannot be read; the text says where.
    #[error("{0}")]
    Unreadable(String),
    /// Something, such as `mapping 7`, does not exist in the caller's scope.
    #[error("there is no {0}")]
    NotFound(String),
    /// A prerequisite is missing: which one, and the next step.
    #[error("{0}")]
    Absent(String, Option<NextAction>),
    /// The request is not allowed in this state; the text says why.
    #[error("{0}")]
    NotAllowed(String),
    /// The request is invalid; the text says why.
    #[error("{0}")]
    Invalid(String),
}

/// The kind of a failure. A front end maps it to an exit code or a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names are clear")]
pub enum ErrorCode {
    Invalid,
    NotFound,
    NotAllowed,
    ConfigInvalid,
    /// The broker or the queue file cannot be reached.
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
    /// Returns the kind of the failure.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Store(error) if error.kind() == StoreErrorKind::Unavailable => {
                ErrorCode::DatabaseUnreachable
            }
            Self::Queue(QueueError::Config(_)) => ErrorCode::ConfigInvalid,
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
                | Refusal::OtherCompany { .. }
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

    /// Returns the next step, where there is exactly one.
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

/// A next step, which the command line renders as a command and the web UI as a button.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the other names are clear")]
pub enum NextAction {
    AcceptSuggestion(HostKey),
    /// Accept one of these suggestions for this host.
    ChooseSuggestion(HostKey, Vec<StaffId>),
    AssignHost(HostKey),
    /// Map this host, which no decided booking has named yet.
    MapUnseenHost(HostKey),
    MakePlan,
    StartPlan(i64),
    ResumeReplay(i64),
    /// Plan a replay of this group's dead letters, once their cause is fixed.
    PlanGroup(String),
    ShowLetter(i64),
    DiscardLetter(i64),
    /// Open this discarded dead letter again.
    RestoreLetter(i64),
    ReplayLetter(i64),
    /// Explain how the booking of this dead letter is matched.
    ExplainLetter(i64),
    /// Give this appointment a member of staff.
    AssignBooking(AppointmentId),
    /// Assign the appointments that wait for this host, which is mapped now.
    RepairHost(HostKey),
    /// Explain how the booking with this reference is matched.
    ExplainBooking(String),
    /// Pass the booking's JSON to the command.
    PassBooking,
    /// Pass the booking's JSON and its company to the command.
    PassBookingAndCompany,
}
