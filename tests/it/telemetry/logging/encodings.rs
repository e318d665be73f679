//! Decodes what a log may hide: lists of bytes, hexadecimal, base64, percent encoding and JSON's escapes.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The least length of a word that is decoded.
const MIN_LENGTH: usize = 8;

/// Returns the text, followed by everything in it that could be decoded.
pub(super) fn decoded(text: &str) -> String {
    let mut all = text.to_owned();
    let mut add = |bytes: &[u8]| {
        all.push('\n');
        all.push_str(&String::from_utf8_lossy(bytes));
    };
    for list in text.split(|c: char| !(c.is_ascii_digit() || c == ',' || c == ' ')) {
        let bytes: Vec<u8> = list.split(',').filter_map(|number| number.trim().parse().ok()).collect();
        if bytes.len() >= MIN_LENGTH {
            add(&bytes);
        }
    }
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "+/-_".contains(c)));
    for word in words.filter(|word| word.len() >= MIN_LENGTH) {
        if let Ok(bytes) = hex::decode(word) {
            add(&bytes);
        }
        for alphabet in [&alphabet::STANDARD, &alphabet::URL_SAFE] {
            let lenient = GeneralPurposeConfig::new()
                .with_decode_padding_mode(DecodePaddingMode::Indifferent)
                .with_decode_allow_trailing_bits(true);
            if let Ok(bytes) = GeneralPurpose::new(alphabet, lenient).decode(word) {
                add(&bytes);
            }
        }
    }
    add(&percent_encoding::percent_decode_str(text).collect::<Vec<u8>>());
    let mut rest = text;
    let mut unescaped = String::new();
    while let Some((before, after)) = rest.split_once("\\u") {
        unescaped.push_str(before);
        let code = after.get(..4).and_then(|code| u32::from_str_radix(code, 16).ok());
        match code.and_then(char::from_u32) {
            Some(c) => {
                unescaped.push(c);
                rest = &after[4..];
            }
            None => rest = after,
        }
    }
    unescaped.push_str(rest);
    add(unescaped.as_bytes());
    all
}

#[test]
fn each_encoding_is_decoded() {
    let name = "Wanda Quill";
    let bytes: Vec<String> = name.bytes().map(|byte| byte.to_string()).collect();
    let standard = base64::engine::general_purpose::STANDARD;
    for hidden in [
        format!("data: [{}], more", bytes.join(", ")),
        format!("[{}]", bytes.join(",")),
        format!("hash={}", hex::encode(name)),
        format!("body={}", hex::encode_upper(name)),
        format!("\"{}\"", standard.encode(name)),
        format!("\"{}\"", standard.encode(name).trim_end_matches('=')),
        "?name=Wanda%20Quill".to_owned(),
        r"W\u0061nda Qu\u0069ll".to_owned(),
    ] {
        assert!(!hidden.contains(name) && decoded(&hidden).contains(name), "{hidden}");
    }
}
