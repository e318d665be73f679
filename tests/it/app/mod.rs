//! Tests the use cases, through the commands that call them.

mod bookings;
mod dead_letter_lists;
mod dead_letters;
mod events;
mod explain;
mod hand_over;
mod mapping_files;
pub(crate) mod people;
pub(crate) mod replay;
mod report;
mod simulate;
mod status;
