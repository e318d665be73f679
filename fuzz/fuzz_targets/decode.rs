//! Any bytes into the decoder: `cargo +nightly fuzz run --dev -s none decode fuzz/corpus/decode
//! tests/fixtures/events tests/fixtures/messages`. What it finds goes into the first of these folders, the
//! others are read.
#![no_main]

#[path = "../promises.rs"]
mod promises;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| promises::keeps(input));
