//! Parts of a JSON document as they stand there, byte for byte. The document has been read before.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The value of this key of an object; of a key that stands there twice the last one.
pub(super) fn of_key<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    let found = serde_json::Deserializer::from_str(object).deserialize_map(ValueOf(key));
    found.ok().flatten().map(RawValue::get)
}

/// The items of an array.
pub(super) fn of_items(array: &str) -> Vec<&str> {
    let items: Vec<&RawValue> = serde_json::from_str(array).unwrap_or_default();
    items.into_iter().map(RawValue::get).collect()
}

struct ValueOf<'k>(&'k str);

impl<'de> Visitor<'de> for ValueOf<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(Is(self.0))? {
            if is_it {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a key is this one.
struct Is<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_the_text_that_stands_there_and_of_two_the_last() {
        let document = r#" {"a": 1, "\u0062" : { "c":1.0e2 } , "a":[ 1, {"x" : "\u00e4"}]} "#;
        assert_eq!(of_key(document, "b"), Some(r#"{ "c":1.0e2 }"#));
        assert_eq!(of_key(document, "a").map(of_items), Some(vec!["1", r#"{"x" : "\u00e4"}"#]));
        assert_eq!(of_key(document, "c"), None);
        assert_eq!(of_key("[1]", "a"), None);
    }
}
