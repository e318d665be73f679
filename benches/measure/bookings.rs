//! The events of the benchmarks: the same in every run, each computed from its number.
//!
//! Twenty companies have fifty members of staff each. Of a company's hosts, 46 have the e-mail address of a
//! member of staff, two have only the name of a member of staff, and two are unknown.

use serde_json::{Value, json};

pub(crate) const COMPANIES: u64 = 20;
pub(crate) const STAFF: u64 = 50;
const BY_EMAIL: u64 = 46;
const BY_NAME: u64 = 48;

/// The way in which an event's host can be matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A member of staff, by e-mail.
    Email,
    /// A member of staff, by name only: a person has to decide.
    Name,
    /// Not at all.
    Nobody,
    /// The booking has no host.
    NoHost,
    /// The event cannot be read.
    Malformed,
}

/// One event, about its own appointment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Booking {
    pub(crate) appointment: u64,
    pub(crate) company: u64,
    pub(crate) kind: Kind,
    /// The number of the member of staff within the company, from 1.
    pub(crate) member: u64,
}

impl Booking {
    /// Returns the booking with this number, from 0.
    pub(crate) fn nth(n: u64) -> Self {
        let random = pseudo_random(n);
        let kind = match random % 1000 {
            0..2 => Kind::Malformed,
            2..12 => Kind::NoHost,
            12..42 => Kind::Nobody,
            42..82 => Kind::Name,
            _ => Kind::Email,
        };
        let hosts = match kind {
            Kind::Name => BY_EMAIL..BY_NAME,
            Kind::Nobody => BY_NAME..STAFF,
            Kind::Email | Kind::NoHost | Kind::Malformed => 0..BY_EMAIL,
        };
        let member = hosts.start + (random >> 40) % (hosts.end - hosts.start) + 1;
        Self { appointment: n + 1, company: (random >> 20) % COMPANIES + 1, kind, member }
    }

    /// Returns the id of the event.
    pub(crate) fn event_id(&self) -> String {
        format!("event-{:08}", self.appointment)
    }

    /// Returns Cal.com's reference to the appointment.
    pub(crate) fn uid(&self) -> String {
        uid(self.appointment)
    }

    /// Returns the id of the Cal.com user.
    pub(crate) fn host(&self) -> u64 {
        1_000_000 + self.company * 1_000 + self.member
    }

    /// Returns the gateway's event, with a response of Cal.com's API (version 2024-08-13).
    pub(crate) fn event(&self) -> Value {
        let (n, uid, host) = (self.appointment, self.uid(), self.host());
        let (day, hour) = (n % 28 + 1, n % 9 + 8);
        let moment = |minute: u64| format!("2026-04-{day:02}T{hour:02}:{minute:02}:00.000Z");
        let guest = format!("guest{n}@mail.example");
        let link = format!("https://meet.example/{uid}");
        json!({
            "event": "appointment.created",
            "event_id": self.event_id(),
            "occurred_at": "2026-03-01T08:14:03.120Z",
            "call_id": format!("call_{n:032x}"),
            "calcom_booking": {
                "id": n, "uid": uid, "title": format!("Haircut with guest {n}"),
                "description": "Wash, cut and blow-dry. Please come five minutes early and ring at the side entrance.",
                "hosts": self.hosts(host),
                "status": "accepted", "cancellationReason": "", "cancelledByEmail": "",
                "start": moment(0), "end": moment(45), "duration": 45,
                "eventTypeId": 5000 + self.company, "eventType": { "id": 5000 + self.company, "slug": "haircut" },
                "meetingUrl": link, "location": link, "absentHost": false,
                "createdAt": "2026-03-01T08:14:01.002Z", "updatedAt": "2026-03-01T08:14:02.871Z",
                "metadata": { "call_id": format!("call_{n:032x}"), "booked_by": "telephone" },
                "rating": null, "icsUid": format!("{uid}@calendar.example"),
                "attendees": [{
                    "name": format!("Guest {n}"), "email": guest, "displayEmail": guest,
                    "timeZone": "Europe/Berlin", "language": "de", "absent": false, "phoneNumber": "+4930555012345",
                }],
                "guests": [],
                "bookingFieldsResponses": {
                    "email": guest, "displayEmail": guest, "name": format!("Guest {n}"),
                    "notes": "Prefers the seat at the window.", "attendeePhoneNumber": "+4930555012345",
                },
            },
        })
    }

    fn hosts(&self, id: u64) -> Value {
        let (name, email) = match self.kind {
            Kind::NoHost => return json!([]),
            Kind::Nobody => ("Nobody Known".to_owned(), format!("host{id}@elsewhere.example")),
            Kind::Name => (full_name(self.member), format!("host{id}@private.example")),
            Kind::Email | Kind::Malformed => (full_name(self.member), email(self.company, self.member)),
        };
        json!([{
            "id": id, "name": name, "email": email, "displayEmail": email, "username": format!("host{id}"),
            "timeZone": "Europe/Berlin",
        }])
    }
}

/// Returns the reference of an appointment.
pub(crate) fn uid(appointment: u64) -> String {
    format!("bk{appointment:014}Qz")
}

/// Returns the address of a company's member of staff.
pub(crate) fn email(company: u64, member: u64) -> String {
    format!("member{member}@salon{company}.example")
}

/// Returns first and last name of a member of staff, unique in the company.
pub(crate) fn names(member: u64) -> (&'static str, String) {
    const FIRST: [&str; 10] =
        ["Ada", "Bela", "Carla", "Dunja", "Edith", "Frida", "Gerd", "Hanna", "Ivo", "Jörg"];
    (FIRST[usize::try_from(member).unwrap_or_default() % FIRST.len()], format!("Sommer-{member}"))
}

fn full_name(member: u64) -> String {
    let (first, last) = names(member);
    format!("{first} {last}")
}

/// Returns the pseudo-random number of `n` (splitmix64).
fn pseudo_random(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
