//! Which events: the flags, and what they mean.

use strum::VariantArray as _;

use crate::cli::moments::moment;
use crate::event::Shape;
use crate::matching::{DEAD_LETTER, Outcome};
use crate::store::EventFilter;

/// Which events; what is given must all be true.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Filter {
    /// Of this company
    #[arg(long, value_name = "N")]
    pub(super) company: Option<i64>,
    /// With this outcome, such as assigned; dead_letter: rejected
    #[arg(long, value_name = "OUTCOME", value_parser = outcome)]
    pub(super) outcome: Option<String>,
    /// Of this type, such as appointment.created
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// In this shape, such as native
    #[arg(long, value_name = "SHAPE", value_parser = shape)]
    shape: Option<String>,
    /// From this publisher
    #[arg(long, value_name = "NAME")]
    publisher: Option<String>,
    /// About the booking with exactly this reference
    #[arg(long, value_name = "REF")]
    booking: Option<String>,
    /// About this appointment
    #[arg(long, value_name = "ID")]
    appointment: Option<i64>,
}

/// When they were decided.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Time {
    /// Decided at this moment or later: 24h ago, or 2026-03-01, or 2026-03-01T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<i64>,
    /// Decided before this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<i64>,
}

impl Filter {
    /// What was asked for.
    pub(super) fn chosen(&self, time: Option<&Time>) -> EventFilter {
        EventFilter {
            company_id: self.company,
            outcome: self.outcome.clone(),
            but: None,
            event_type: self.event_type.clone(),
            shape: self.shape.clone(),
            publisher: self.publisher.clone(),
            booking_ref: self.booking.clone(),
            appointment_id: self.appointment,
            since_ms: time.and_then(|time| time.since),
            until_ms: time.and_then(|time| time.until),
            before: None,
        }
    }
}

fn outcome(text: &str) -> Result<String, String> {
    let all: Vec<&str> =
        Outcome::VARIANTS.iter().copied().map(Outcome::as_str).chain([DEAD_LETTER]).collect();
    one_of(text, &all)
}

/// `unknown`: it could not be read.
fn shape(text: &str) -> Result<String, String> {
    let all: Vec<&str> = Shape::ALL.map(Shape::as_str).into_iter().chain(["unknown"]).collect();
    one_of(text, &all)
}

fn one_of(text: &str, all: &[&str]) -> Result<String, String> {
    if all.contains(&text) { Ok(text.to_owned()) } else { Err(format!("there are {}", all.join(", "))) }
}
