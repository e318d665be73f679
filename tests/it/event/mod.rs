//! Decoding: every shape has a fixture and its expected reading; every error has its place and reason; and
//! no input makes the decoder panic.

mod sent;

mod shapes;
mod sources;
mod arbitrary_input;
mod fuzzing;
mod wrapped;
mod wrapped_sources;
mod schemas;
