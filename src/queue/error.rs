//! The errors of a queue, with texts for the operator.

/// The queue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// `queue.url`, or another key of `[queue]`, has an invalid value; the text names the key.
    #[error("{0}")]
    Config(String),
    /// The broker is unavailable, or refuses to be used.
    #[error("the broker cannot be used: {0}")]
    Unavailable(String),
    /// The local file cannot be used.
    #[error("the queue file {path} cannot be used: {problem}")]
    File {
        /// The path of the file.
        path: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The queue was closed by this program.
    #[error("the queue has been closed")]
    Closed,
}

/// A message was not accepted, or possibly not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The queue cannot be reached now; retry later.
    #[error("the queue is not available: {0}")]
    Unavailable(String),
    /// The queue is full. It may accept the message later.
    #[error("the queue refused the message: {0}")]
    Refused(String),
    /// No queue is bound to the exchange, or a queue does not exist. It may exist later.
    #[error("the queue refused the message: {0}")]
    Returned(String),
    /// The message exceeds a limit: it will never be accepted as it is.
    #[error("the message exceeds a limit of the queue: {0}")]
    ExceedsLimit(String),
    /// No confirm in time; the message may have been accepted.
    #[error("the queue did not confirm in time; the message may or may not have been accepted")]
    Timeout,
}
