//! What can go wrong with a queue, in words for whoever has to mend it.

/// The queue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// `queue.url`, or another key of `[queue]`, cannot be used; the text names it.
    #[error("{0}")]
    Url(String),
    /// The broker is away, or refuses.
    #[error("the broker cannot be used: {0}")]
    Unavailable(String),
    /// The local file cannot be used.
    #[error("the queue file {path} cannot be used: {problem}")]
    File {
        /// Where the file is.
        path: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The queue was closed by this program.
    #[error("the queue has been closed")]
    Closed,
}

/// A message was not accepted, or not surely.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No way to the queue now; try again later.
    #[error("the queue is not available: {0}")]
    Unavailable(String),
    /// The queue said no: it is full. Later it may say yes.
    #[error("the queue refused the message: {0}")]
    Refused(String),
    /// Nothing is bound to the exchange, or a queue is gone. Later it may be there.
    #[error("the queue refused the message: {0}")]
    Returned(String),
    /// The message breaks a limit: it will never be accepted as it is.
    #[error("the message does not fit the queue: {0}")]
    Unfit(String),
    /// No answer in time; the message may have been accepted.
    #[error("the queue did not confirm in time; the message may or may not have been accepted")]
    Timeout,
}
