//! The fuzz target for the decoder: `cargo +nightly fuzz run --dev -s none decode fuzz/corpus/decode
//! tests/fixtures/events tests/fixtures/messages`. It writes new inputs into the first of these folders, and
//! only reads the others.
#![no_main]

#[path = "../promises.rs"]
mod promises;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| promises::check(input));
