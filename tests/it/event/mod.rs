//! Decoding: every shape has a fixture and its expected reading; what is wrong has its place and
//! reason; and no bytes at all make it panic.

mod sent;

mod shapes;
mod sources;
mod anything;
mod fuzzing;
mod wrapped;
mod wrapped_sources;
mod schemas;
