//! The text and the images of a line of JSON: other fields are skipped without being built.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::images::{self, IMAGES};
use super::{Fault, Fields, RowText, strip_bom};

/// The string that `line` holds under `fields.text`, with its images; `None` for null and for a blank line.
///
/// Invalid UTF-8, lone surrogates, a missing field and a value that is not a string are faults. Of a repeated
/// field the last value counts, as in Python.
pub(crate) fn text<'a>(line: &'a [u8], fields: Fields<'_>) -> RowText<'a> {
    let line = str::from_utf8(strip_bom(line)).map_err(|error| {
        Fault::Other(format!("invalid UTF-8 at byte {} of the line", error.valid_up_to()))
    })?;
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    match parse(line, fields.text) {
        Ok(Object { text: Value::Text(text), images }) => {
            images::assemble(into_bytes(text), images.as_ref(), fields.images).map(Some)
        }
        Ok(Object { text: Value::Null, .. }) => Ok(None),
        Ok(Object { text: Value::Missing, .. }) => Err(Fault::Missing(keys(line))),
        Err(error) => {
            Err(Fault::Other(format!("not a JSON object with a string `{}`: {error}", fields.text)))
        }
    }
}

/// The names of an object's fields, sorted; empty when the line is no object.
pub(crate) fn keys(line: &str) -> Vec<String> {
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let mut names = deserializer.deserialize_map(KeysVisitor).unwrap_or_default();
    names.sort_unstable();
    names.dedup();
    names
}

fn into_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// Collects the field names of an object.
struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Vec<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some((name, IgnoredAny)) = map.next_entry()? {
            names.push(name);
        }
        Ok(names)
    }
}

enum Value<'a> {
    Text(Cow<'a, str>),
    Null,
    Missing,
}

/// The two fields that are kept.
struct Object<'a> {
    text: Value<'a>,
    images: Option<serde_json::Value>,
}

fn parse<'a>(line: &'a str, field: &str) -> serde_json::Result<Object<'a>> {
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let value = ObjectSeed { field }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Reads an object for the fields wanted.
struct ObjectSeed<'f> {
    field: &'f str,
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_> {
    type Value = Object<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_> {
    type Value = Object<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Object { text: Value::Missing, images: None };
        while let Some(key) = map.next_key_seed(KeySeed { field: self.field })? {
            match key {
                Key::Text => found.text = map.next_value_seed(TextSeed)?,
                Key::Images => found.images = Some(map.next_value()?),
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// What a key names.
enum Key {
    Text,
    Images,
    Other,
}

/// Compares a key with the fields without keeping it.
struct KeySeed<'f> {
    field: &'f str,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field name")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
        Ok(match key {
            _ if key == self.field => Key::Text,
            IMAGES => Key::Images,
            _ => Key::Other,
        })
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
    use super::super::{ImageRule, Text};
    use super::*;

    const FIELDS: Fields<'_> = Fields { text: "text", images: ImageRule::Refuse };

    fn fault(line: &[u8]) -> String {
        text(line, FIELDS).unwrap_err().describe("text")
    }

    #[test]
    fn the_field_is_found_among_others() {
        let line = br#" {"id": [1, {"text": "no"}], "text": "a\u00e9\n\ud83d\ude00", "meta": {"x": null}} "#;
        assert_eq!(text(line, FIELDS).unwrap().unwrap().bytes.as_ref(), "a\u{e9}\n\u{1f600}".as_bytes());
        assert!(matches!(
            text(br#"{"text": "plain"}"#, FIELDS),
            Ok(Some(Text { bytes: Cow::Borrowed(b"plain"), .. }))
        ));
        assert_eq!(text(br#"{"text": "1", "text": "2"}"#, FIELDS).unwrap().unwrap().bytes.as_ref(), b"2");
        assert!(matches!(text(br#"{"text": null}"#, FIELDS), Ok(None)));
        assert!(matches!(text(b"  \r", FIELDS), Ok(None)));
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
