//! Configuration: its layers, refusals and warnings.

mod layers;
mod warnings;
