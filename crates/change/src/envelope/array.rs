//! Arrays between the text of Postgres and JSON.
//!
//! `{{1,2},{3,NULL}}` is `[[1,2],[3,null]]`. An array whose indexes do not begin at 1, which no array of JSON can say,
//! is a JSON string: the text of Postgres (`"[0:1]={7,8}"`). The text is that of `array_out`, which quotes an element
//! exactly where it must, so that JSON leads back to the very same text (documentation of Postgres, 8.15.6).

use super::form::{Form, plain};
use crate::{
    ColumnType,
    json::{
        scan::{Scalar, Scanner},
        write,
    },
};

/// Postgres' `MAXDIM`.
const MOST_DIMENSIONS: usize = 6;

/// Writes and reads the arrays of one type as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrayCodec {
    element: Form,
    /// What parts elements in the text of Postgres.
    delimiter: u8,
}

/// What may come next in an array.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The array itself.
    Array,
    /// Its first element or its end.
    First,
    /// An element.
    Element,
    /// A delimiter or the end.
    Rest,
}

impl ArrayCodec {
    /// Elements as the envelope has values of their type: `date` as days, `bytea` in base64.
    #[must_use]
    pub(super) fn envelope(element: &ColumnType) -> Self {
        Self { element: Form::of(element), delimiter: delimiter(element) }
    }

    /// Elements as a person writes them: booleans, integers and floating-point numbers as JSON has them, everything
    /// else as the text of Postgres in a string, also `numeric`, whose digits no number of JSON keeps everywhere.
    #[must_use]
    pub fn readable(element: &ColumnType) -> Self {
        let form = match Form::of(element) {
            form @ (Form::Boolean | Form::Integer | Form::Float | Form::Byte) => form,
            _ => Form::Text,
        };
        Self { element: form, delimiter: delimiter(element) }
    }

    /// Appends the JSON for a text of Postgres; `false` when it is no array of such elements.
    #[must_use]
    pub fn encode(self, text: &[u8], out: &mut Vec<u8>) -> bool {
        match without_bounds(text) {
            None => self.list(text, out),
            Some(list) => self.list(list, &mut Vec::new()) && write::string(out, text),
        }
    }

    /// Appends the text of Postgres for a JSON text in UTF-8; `false` when it is no array of such elements.
    #[must_use]
    pub fn decode(self, json: &[u8], out: &mut Vec<u8>) -> bool {
        let mut scanner = Scanner::new(json);
        match scanner.value() {
            Ok(Scalar::Array(range)) if scanner.finish().is_ok() => self.read(&json[range], out),
            Ok(Scalar::String(string)) if scanner.finish().is_ok() => {
                let start = out.len();
                plain(&string, json, out)
                    && without_bounds(&out[start..]).is_some_and(|list| self.list(list, &mut Vec::new()))
            }
            _ => false,
        }
    }

    fn list(self, text: &[u8], out: &mut Vec<u8>) -> bool {
        let (mut rest, mut depth, mut next) = (text, 0, Next::Array);
        while let Some((byte, after)) = rest.split_first() {
            match (*byte, next) {
                (b'{', Next::Array | Next::First | Next::Element) if depth < MOST_DIMENSIONS => {
                    out.push(b'[');
                    (rest, depth, next) = (after, depth + 1, Next::First);
                }
                (b'}', Next::First | Next::Rest) => {
                    out.push(b']');
                    (rest, depth, next) = (after, depth - 1, Next::Rest);
                    if depth == 0 {
                        return rest.is_empty();
                    }
                }
                (byte, Next::Rest) if byte == self.delimiter => {
                    out.push(b',');
                    (rest, next) = (after, Next::Element);
                }
                (_, Next::First | Next::Element) => {
                    let Some(after) = self.element(rest, out) else { return false };
                    (rest, next) = (after, Next::Rest);
                }
                _ => return false,
            }
        }
        false
    }

    /// Appends the element at the beginning of the text and says what follows.
    fn element<'a>(self, text: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
        if let Some(quoted) = text.strip_prefix(b"\"") {
            let mut plain = Vec::new();
            let after = unquote(quoted, &mut plain)?;
            return self.element.encode(&plain, out).then_some(after);
        }
        let ends = |byte: &u8| *byte == self.delimiter || b"{}\"\\".contains(byte);
        let (word, after) = text.split_at(text.iter().position(ends)?);
        let written = match word {
            b"" => false,
            b"NULL" => {
                out.extend_from_slice(b"null");
                true
            }
            _ => self.element.encode(word, out),
        };
        written.then_some(after)
    }

    fn read(self, json: &[u8], out: &mut Vec<u8>) -> bool {
        let mut scanner = Scanner::new(json);
        let (mut depth, mut next, mut word) = (0, Next::Array, Vec::new());
        while let Some(byte) = scanner.next_byte() {
            match (byte, next) {
                (b'[', Next::Array | Next::First | Next::Element) if depth < MOST_DIMENSIONS => {
                    out.push(b'{');
                    (depth, next) = (depth + 1, Next::First);
                    scanner.step();
                }
                (b']', Next::First | Next::Rest) if depth > 0 => {
                    out.push(b'}');
                    (depth, next) = (depth - 1, Next::Rest);
                    scanner.step();
                }
                (b',', Next::Rest) if depth > 0 => {
                    out.push(self.delimiter);
                    next = Next::Element;
                    scanner.step();
                }
                (_, Next::First | Next::Element) => {
                    word.clear();
                    match scanner.scalar() {
                        Ok(Scalar::Null) => out.extend_from_slice(b"NULL"),
                        Ok(value) if self.element.decode(&value, json, &mut word) => self.quote(&word, out),
                        _ => return false,
                    }
                    next = Next::Rest;
                }
                _ => return false,
            }
        }
        depth == 0 && next == Next::Rest
    }

    /// As `array_out`: quotes where the text would be read otherwise, a backslash before quotes and backslashes.
    fn quote(self, word: &[u8], out: &mut Vec<u8>) {
        let special = |byte: &u8| *byte == self.delimiter || b"\"\\{} \t\n\r\x0b\x0c".contains(byte);
        if !word.is_empty() && !word.eq_ignore_ascii_case(b"NULL") && !word.iter().any(special) {
            out.extend_from_slice(word);
            return;
        }
        out.push(b'"');
        for byte in word {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        out.push(b'"');
    }
}

/// `pg_type.typdelim`: a comma, save for the one type whose own text has commas outside of brackets.
fn delimiter(element: &ColumnType) -> u8 {
    if matches!(element, ColumnType::Plain(name) if name == "box") { b';' } else { b',' }
}

/// What follows `[l:u]…=`; `None` where the indexes begin at 1 and the text has none of it.
fn without_bounds(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| *byte == b'=').filter(|_| text.starts_with(b"["))?;
    let (bounds, list) = (&text[..end], &text[end + 1..]);
    let known = |byte: &u8| byte.is_ascii_digit() || b"[]:-".contains(byte);
    (bounds.ends_with(b"]") && bounds.iter().all(known)).then_some(list)
}

/// Appends what stands between the quotes and says what follows the closing one.
fn unquote<'a>(mut text: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let at = memchr::memchr2(b'"', b'\\', text)?;
        out.extend_from_slice(&text[..at]);
        if text[at] == b'"' {
            return Some(&text[at + 1..]);
        }
        out.push(*text.get(at + 1)?);
        text = &text[at + 2..];
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn check(codec: ArrayCodec, cases: &[(&str, Json)]) {
        for (text, expected) in cases {
            let (mut json, mut back) = (Vec::new(), Vec::new());
            assert!(codec.encode(text.as_bytes(), &mut json), "{text}");
            assert_eq!(&serde_json::from_slice::<Json>(&json).unwrap(), expected, "{text}");
            assert!(codec.decode(&json, &mut back), "{text}");
            assert_eq!(String::from_utf8(back).unwrap(), *text);
        }
    }

    #[test]
    fn arrays_are_those_of_json_and_come_back_letter_by_letter() {
        check(
            ArrayCodec::readable(&ColumnType::Integer),
            &[
                ("{}", json!([])),
                ("{1,-2,NULL}", json!([1, -2, null])),
                ("{{1,2},{3,NULL}}", json!([[1, 2], [3, null]])),
                ("{{{{{{1}}}}}}", json!([[[[[[1]]]]]])),
                ("[0:1]={7,8}", json!("[0:1]={7,8}")),
                ("[-2:-1][3:3]={{7},{8}}", json!("[-2:-1][3:3]={{7},{8}}")),
            ],
        );
        check(
            ArrayCodec::readable(&ColumnType::Text),
            &[
                (r#"{"",a,"NULL","null",NULL}"#, json!(["", "a", "NULL", "null", null])),
                (
                    r#"{"a b","q\"","b\\","{","}","c,d",e;f}"#,
                    json!(["a b", "q\"", "b\\", "{", "}", "c,d", "e;f"]),
                ),
                ("{\"a\nb\",ä🛒,\"\u{b}\"}", json!(["a\nb", "ä🛒", "\u{b}"])),
            ],
        );
        check(ArrayCodec::readable(&ColumnType::Boolean), &[("{t,f}", json!([true, false]))]);
        check(ArrayCodec::readable(&ColumnType::Double), &[("{1e+20,NaN,-0}", json!([1e20, "NaN", -0.0]))]);
        let boxes = ArrayCodec::readable(&ColumnType::Plain("box".to_owned()));
        check(boxes, &[("{(1,1),(0,0);(2,2),(0,0)}", json!(["(1,1),(0,0)", "(2,2),(0,0)"]))]);
    }

    #[test]
    fn elements_are_as_the_envelope_or_as_a_person_has_them() {
        let cases = [
            (
                ColumnType::Date,
                "{1970-01-02,infinity}",
                json!([1, i32::MAX]),
                json!(["1970-01-02", "infinity"]),
            ),
            (ColumnType::Bytea, r#"{"\\x00ff"}"#, json!(["AP8="]), json!(["\\x00ff"])),
            (ColumnType::Numeric(None), "{1.50,NaN}", json!(["1.50", "NaN"]), json!(["1.50", "NaN"])),
        ];
        for (element, text, envelope, readable) in cases {
            check(ArrayCodec::envelope(&element), &[(text, envelope)]);
            check(ArrayCodec::readable(&element), &[(text, readable)]);
        }
    }

    #[test]
    fn what_is_no_array_is_refused_both_ways() {
        let codec = ArrayCodec::readable(&ColumnType::Integer);
        for text in [
            "",
            "1",
            "{",
            "}",
            "{1",
            "{1}}",
            "{1},",
            "{,}",
            "{1,}",
            "{1 2}",
            "{a}",
            "{\"1",
            "{\"1\\",
            "[0:1]=",
            "[x]={1}",
            "[0:1={1}",
            "{{{{{{{1}}}}}}}",
            "{1}{2}",
            "{\"\"}",
        ] {
            assert!(!codec.encode(text.as_bytes(), &mut Vec::new()), "{text}");
        }
        for json in [
            "",
            "1",
            "[",
            "]",
            "[1",
            "[1]]",
            "[,]",
            "[1,]",
            "[1 2]",
            "[\"1\"]",
            "{}",
            "[{}]",
            "[[[[[[[1]]]]]]]",
            "\"{1}\"",
            "null",
        ] {
            assert!(!codec.decode(json.as_bytes(), &mut Vec::new()), "{json}");
        }
    }
}
