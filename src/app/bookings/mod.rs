//! Use cases of bookings: which have no member of staff and what would give them one, what happened to one, and
//! giving appointments a member of staff by hand.

mod assign;
mod list;
mod timeline;

pub use assign::{AssignedBooking, AssignmentView, UndoneAssignment, assign, preview_assign, undo};
pub use list::{BookingList, BookingView, list};
pub use timeline::{BookingDetails, Entry, EntryKind, show};
