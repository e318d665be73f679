//! Describes a broker's error: what failed, and what to do next.

use lapin::ErrorKind;

use super::Settings;

/// The reason why the broker cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What failed and what to do next.
    pub(crate) text: String,
    /// Whether it is a mistake in the configuration or on the broker, so that retrying soon does not help.
    pub(crate) configuration: bool,
}

/// Returns the AMQP reply code of an error, if the broker sent one.
pub(crate) fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

impl Problem {
    /// Creates a temporary problem.
    pub(super) fn temporary(text: impl Into<String>) -> Self {
        Self { text: text.into(), configuration: false }
    }

    pub(crate) fn of(error: &lapin::Error, settings: &Settings) -> Self {
        let address = &settings.address;
        let reply = match error.kind() {
            ErrorKind::ProtocolError(error) => error.get_message().to_string(),
            _ => String::new(),
        };
        let advice = match code(error) {
            Some(403) if reply.contains("Login was refused") => {
                "check the user and the password in queue.url".to_owned()
            }
            Some(403) => format!(
                "the broker's user needs the permissions configure, write and read on names that begin with \
                 {:?}; or let an administrator create the queues, set queue.topology = \"verify\", and \
                 grant write and read only",
                settings.topology.exchange.trim_end_matches("events")
            ),
            Some(404) => "if queue.topology is \"verify\", an administrator must create it; if it is \
                 \"declare\", hostmatch creates it"
                .to_owned(),
            Some(406) => precondition(&reply),
            Some(530) => format!(
                "check that the virtual host {:?} in queue.url exists and that the user may access it",
                address.vhost
            ),
            _ => {
                let place = format!("{}:{}", address.authority.host, address.authority.port);
                return Self::temporary(format!("{place}: {error}"));
            }
        };
        Self { text: format!("{reply}: {advice}"), configuration: true }
    }
}

/// Returns the advice for a 406. The broker's reply names the argument and both values.
fn precondition(reply: &str) -> String {
    if reply.contains("invalid arg") {
        return "the broker does not know this argument: hostmatch needs RabbitMQ 3.10 or newer".to_owned();
    }
    if reply.contains("message size") {
        return "raise the broker's max_message_size".to_owned();
    }
    let quoted: Vec<&str> = reply.split('\'').skip(1).step_by(2).collect();
    match quoted.as_slice() {
        [argument, queue, ..] if reply.contains("inequivalent arg") => format!(
            "the queue or exchange {queue:?} already exists with a different {argument}; set the configuration \
             to the broker's value, use another queue.prefix, or delete {queue:?} when it is empty, and \
             hostmatch creates it again"
        ),
        _ => "the broker has a queue or an exchange with this name but different properties; use another \
              queue.prefix, or delete that queue or exchange when it is empty"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_406_names_the_argument_and_the_queue() {
        let advice = precondition(
            "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'salon.bookings' in vhost \
             '/': received the value '50' of type 'signedint' but current is the value '20'",
        );
        assert!(advice.contains("\"salon.bookings\"") && advice.contains("x-delivery-limit"), "{advice}");
    }

    #[test]
    fn a_broker_that_is_too_old_is_reported() {
        let advice = precondition("PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'q' of vhost");
        assert!(advice.contains("3.10"), "{advice}");
    }
}
