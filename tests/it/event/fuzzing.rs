//! The fuzz target's checks over mutated fixtures: a bounded run on stable Rust without cargo-fuzz.
//! docs/message-format.md says how to run the real one for any length of time.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::is_full;

#[path = "../../../fuzz/promises.rs"]
mod promises;

/// Each input of the corpus unchanged, then this many mutations, or as many as fit into the time limit.
const MUTATIONS: u32 = 30_000;
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Keys and values that the decoder knows: inserted anywhere, they lead into more of its branches.
const DICTIONARY: [&str; 24] = [
    "\"specversion\":\"1.0\",",
    "\"specversion\":\"0.3\",",
    "\"data\":",
    "\"data_base64\":\"e30=\",",
    "\"datacontentencoding\":\"base64\",",
    "\"job\":\"appointment.created\",",
    "\"command\":\"O:8:\",",
    "\"uuid\":\"\",",
    "\"pushedAt\":\"1e308\",",
    "\"triggerEvent\":\"BOOKING_CREATED\",",
    "\"payload\":",
    "\"calcom_booking\":",
    "\"event\":\"appointment.created\",",
    "\"event_id\":\"\\u0000\",",
    "\"hosts\":[",
    "\"uid\":\"\",",
    "\"id\":-9223372036854775808,",
    "\"appointment_id\":1,",
    "\"updatedAt\":\"9999-12-31T23:59:59Z\",",
    "{",
    "[",
    "null,",
    "\"\\ud800\"",
    "1e400",
];

/// xorshift64*: the same numbers in every run, so that a failure is reproducible.
struct RandomNumbers(u64);

impl RandomNumbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % bound.max(1)
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let folders = ["tests/fixtures/events", "tests/fixtures/messages"];
    let paths = folders.into_iter().flat_map(|folder| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(folder)
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().path())
    });
    let mut paths: Vec<_> = paths.collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Applies one to four changes of the kinds that fuzzers use.
fn mutate(corpus: &[Vec<u8>], numbers: &mut RandomNumbers) -> Vec<u8> {
    let mut bytes = corpus[numbers.below(corpus.len())].clone();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + numbers.below(64)).min(bytes.len());
        match numbers.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            3 => {
                // Text from another input that follows the same kind of bracket.
                let other = &corpus[numbers.below(corpus.len())];
                let from = numbers.below(other.len());
                let to = (from + numbers.below(200)).min(other.len());
                drop(bytes.splice(at..end, other[from..to].to_vec()));
            }
            4 => bytes.truncate(at),
            _ => {
                // Text after a bracket or a comma is likely to be read.
                let position = bytes[at..].iter().position(|byte| matches!(byte, b'{' | b',' | b'['));
                let position = position.map_or(at, |offset| at + offset + 1);
                drop(bytes.splice(position..position, DICTIONARY[numbers.below(DICTIONARY.len())].bytes()));
            }
        }
    }
    bytes
}

#[test]
fn mutated_fixtures_keep_the_decoders_guarantees() {
    let corpus = corpus();
    assert!(corpus.len() > 40, "too few inputs were found");
    corpus.iter().for_each(|input| promises::check(input));
    let (mut numbers, begin) = (RandomNumbers(0x5EED), Instant::now());
    let time_limit = if is_full() { TIME_LIMIT * 30 } else { TIME_LIMIT };
    for number in 0..if is_full() { u32::MAX } else { MUTATIONS } {
        let input = mutate(&corpus, &mut numbers);
        let kept = std::panic::catch_unwind(|| promises::check(&input));
        assert!(kept.is_ok(), "mutation {number}: {}", String::from_utf8_lossy(&input));
        if begin.elapsed() > time_limit {
            break;
        }
    }
}
