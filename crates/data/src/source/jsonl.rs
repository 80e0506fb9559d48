//! The text field of a line of JSON: other fields are skipped without being built.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::{Fault, RowText, strip_bom};

/// The string that `line` holds under `field`; `None` for null and for a blank line.
///
/// Invalid UTF-8, lone surrogates, a missing field and a value that is not a string are faults. Of a repeated
/// field the last value counts, as in Python.
pub(crate) fn text<'a>(line: &'a [u8], field: &str) -> RowText<'a> {
    let line = str::from_utf8(strip_bom(line)).map_err(|error| {
        Fault::Other(format!("invalid UTF-8 at byte {} of the line", error.valid_up_to()))
    })?;
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    match parse(line, field) {
        Ok(Value::Text(text)) => Ok(Some(into_bytes(text))),
        Ok(Value::Null) => Ok(None),
        Ok(Value::Missing) => Err(Fault::Missing(keys(line))),
        Err(error) => Err(Fault::Other(format!("not a JSON object with a string `{field}`: {error}"))),
    }
}

/// The names of an object's fields, sorted; empty when the line is no object.
pub(crate) fn keys(line: &str) -> Vec<String> {
    serde_json::from_str::<BTreeMap<String, IgnoredAny>>(line)
        .map(|map| map.into_keys().collect())
        .unwrap_or_default()
}

fn into_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

enum Value<'a> {
    Text(Cow<'a, str>),
    Null,
    Missing,
}

fn parse<'a>(line: &'a str, field: &str) -> serde_json::Result<Value<'a>> {
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let value = ObjectSeed { field }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Reads an object for the one field wanted.
struct ObjectSeed<'f> {
    field: &'f str,
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_> {
    type Value = Value<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Value::Missing;
        while let Some(wanted) = map.next_key_seed(KeySeed { field: self.field })? {
            if wanted {
                found = map.next_value_seed(TextSeed)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Compares a key with the field without keeping it.
struct KeySeed<'f> {
    field: &'f str,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field name")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.field)
    }
}

/// A string (borrowed where it has no escapes) or null.
struct TextSeed;

impl<'de> DeserializeSeed<'de> for TextSeed {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextSeed {
    type Value = Value<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or null")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fault(line: &[u8]) -> String {
        text(line, "text").unwrap_err().describe("text")
    }

    #[test]
    fn the_field_is_found_among_others() {
        let line = br#" {"id": [1, {"text": "no"}], "text": "a\u00e9\n\ud83d\ude00", "meta": {"x": null}} "#;
        assert_eq!(text(line, "text").unwrap().unwrap().as_ref(), "a\u{e9}\n\u{1f600}".as_bytes());
        assert!(matches!(text(br#"{"text": "plain"}"#, "text"), Ok(Some(Cow::Borrowed(b"plain")))));
        assert_eq!(text(br#"{"text": "1", "text": "2"}"#, "text").unwrap().unwrap().as_ref(), b"2");
        assert!(matches!(text(br#"{"text": null}"#, "text"), Ok(None)));
        assert!(matches!(text(b"  \r", "text"), Ok(None)));
    }

    #[test]
    fn faults_say_what_is_wrong() {
        assert!(fault(br#"{"text": 3}"#).contains("expected a string or null"));
        assert!(
            fault(br#"{"text": "\ud800"}"#).contains("surrogate")
                || fault(br#"{"text": "\ud800"}"#).contains("hex")
        );
        assert!(fault(b"{\"text\": \"\xff\"}").contains("invalid UTF-8 at byte 10"));
        assert!(fault(br#"{"body": "x", "id": 1}"#).contains("`body`, `id`"));
        assert!(fault(br#"{"text": "x"} {"text": "y"}"#).contains("trailing"));
        assert!(fault(br#"{"text": "x"#).contains("EOF"));
        assert!(fault(br#"["text"]"#).contains("expected an object"));
    }
}
