//! Configuration: layers, errors and warnings.

mod layers;
mod warnings;
