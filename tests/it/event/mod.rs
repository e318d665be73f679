//! Tests decoding: every shape has a fixture with its expected result, every error has its JSON pointer and
//! reason, and no input makes the decoder panic.

mod sent;

mod forms;
mod unread;
mod shapes;
mod sources;
mod arbitrary_input;
mod fuzzing;
mod wrapped;
mod wrapped_sources;
mod schemas;
