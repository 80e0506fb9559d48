//! The images of a row: lists of codes, one for each U+FFFC in the text.

use std::borrow::Cow;

use memchr::memmem;
use serde_json::Value;

use super::{Fault, ImageRule, Text};
use crate::document::{Document, ImageShape};

/// Field that holds the images of a row.
pub(crate) const IMAGES: &str = "images";
/// OBJECT REPLACEMENT CHARACTER: stands for an image in the text.
const MARK: &str = "\u{fffc}";

/// The text with its images in their places. Without a list of images, U+FFFC is a character like any other.
pub(super) fn assemble<'a>(
    text: Cow<'a, [u8]>,
    images: Option<&Value>,
    rule: ImageRule,
) -> Result<Text<'a>, Fault> {
    let images = match images {
        Some(Value::Array(images)) if !images.is_empty() => images,
        None | Some(Value::Null | Value::Array(_)) => return Ok(text.into()),
        Some(_) if matches!(rule, ImageRule::Read(_)) => return Err(not_codes()),
        Some(_) => return Ok(text.into()),
    };
    let shape = match rule {
        ImageRule::Read(shape) => shape,
        // Rows of other programs may call anything `images`; lists of lists are what this one reads.
        _ if !images[0].is_array() => return Ok(text.into()),
        ImageRule::Refuse => {
            return Err(Fault::Other(format!(
                "the row has `{IMAGES}`, which are only read with vision.on = true and a vision.codec"
            )));
        }
        ImageRule::Any => {
            ImageShape { codes: images[0].as_array().map_or(0, Vec::len), codebook: ImageShape::MAX_CODEBOOK }
        }
    };
    let codes = images.iter().map(codes).collect::<Option<Vec<_>>>().ok_or_else(not_codes)?;
    if let Some(fault) = codes.iter().enumerate().find_map(|(index, codes)| shape.fault(index, codes, false))
    {
        return Err(Fault::Other(fault));
    }
    insert(&text, codes).map(Text::from)
}

/// The text with each U+FFFC replaced by an image.
fn insert(text: &[u8], images: Vec<Vec<u16>>) -> Result<Document, Fault> {
    let marks: Vec<usize> = memmem::find_iter(text, MARK).collect();
    if marks.len() != images.len() {
        let (marks, images) = (marks.len(), images.len());
        return Err(Fault::Other(format!("the text has {marks} U+FFFC, `{IMAGES}` has {images} images")));
    }
    let mut document = Document::default();
    let mut from = 0;
    for (mark, codes) in marks.into_iter().zip(images) {
        document.push_text(&text[from..mark]);
        document.push_image(codes, false);
        from = mark + MARK.len();
    }
    document.push_text(&text[from..]);
    Ok(document)
}

fn codes(image: &Value) -> Option<Vec<u16>> {
    let code = |value: &Value| value.as_u64().and_then(|code| u16::try_from(code).ok());
    image.as_array()?.iter().map(code).collect()
}

fn not_codes() -> Fault {
    Fault::Other(format!("`{IMAGES}` is not a list of lists of codes, which are whole numbers below 65536"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    const SHAPE: ImageShape = ImageShape { codes: 2, codebook: 10 };

    fn read(text: &'static str, images: &Value, rule: ImageRule) -> Result<Document, String> {
        assemble(text.as_bytes().into(), Some(images), rule)
            .map(Text::into_document)
            .map_err(|fault| fault.describe("text"))
    }

    #[test]
    fn images_stand_where_the_text_says() {
        let document = read("a\u{fffc}\u{fffc}b", &json!([[1, 2], [3, 9]]), ImageRule::Read(SHAPE)).unwrap();
        assert_eq!(document.bytes, [b'a', 255, 255, 255, 255, 255, 255, 255, 255, b'b']);
        assert_eq!(document.images.iter().map(|image| image.at).collect::<Vec<_>>(), [1, 5]);
        assert_eq!(document.images[1].codes, [3, 9]);
        assert_eq!(document.texts().collect::<Vec<_>>(), [0..1, 5..5, 9..10]);
    }

    #[test]
    fn text_without_images_keeps_its_characters() {
        for images in [json!(null), json!([])] {
            for rule in [ImageRule::Refuse, ImageRule::Read(SHAPE), ImageRule::Any] {
                assert_eq!(read("a\u{fffc}", &images, rule).unwrap().bytes, "a\u{fffc}".as_bytes());
            }
        }
        assert_eq!(read("a", &json!(["http://x"]), ImageRule::Refuse).unwrap().bytes, b"a");
    }

    #[test]
    fn faults_say_what_is_wrong() {
        let rule = ImageRule::Read(SHAPE);
        let fault = |images, rule| read("a\u{fffc}", &images, rule).unwrap_err();
        assert!(fault(json!([[1, 2]]), ImageRule::Refuse).contains("vision.on"));
        assert!(fault(json!([[1]]), rule).contains("image 1 has 1 codes, expected 2"));
        assert!(fault(json!([[1, 10]]), rule).contains("image 1 has code 10, the codebook has 10"));
        assert!(fault(json!([[1, 2], [3, 4]]), rule).contains("1 U+FFFC, `images` has 2"));
        for images in
            [json!([[1, -2]]), json!([[1, 2.5]]), json!([[1, 70000]]), json!(["x"]), json!({"a": 1})]
        {
            assert!(fault(images, rule).contains("is not a list of lists"));
        }
        assert!(fault(json!([[1, 2], [3]]), ImageRule::Any).contains("image 2 has 1 codes"));
    }
}
