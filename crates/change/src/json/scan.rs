//! A cursor over a JSON text that is UTF-8: it finds keys and values and copies nothing.
//!
//! What is asked for is checked strictly; what is skipped is only checked for its brackets and strings.

use std::ops::Range;

/// The text is no JSON of the expected form, from about this byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) at: usize,
}

pub(crate) type Result<T> = std::result::Result<T, Malformed>;

/// A string's bytes between its quotes, as they stand in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawString {
    pub(crate) range: Range<usize>,
    /// Whether there is a backslash in it.
    pub(crate) escaped: bool,
}

/// A value that is no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Null,
    True,
    False,
    Number(Range<usize>),
    String(RawString),
    /// With its brackets; what is in it was only stepped over.
    Array(Range<usize>),
}

pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Enters an object.
    pub(crate) fn enter(&mut self) -> Result<()> {
        self.expect(b'{')
    }

    /// The next key of the object, its colon taken; `None` at the object's end. `first` says that none came before.
    pub(crate) fn key(&mut self, first: bool) -> Result<Option<RawString>> {
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(None);
        }
        if !first {
            self.expect(b',')?;
            self.blanks();
        }
        let key = self.string()?;
        self.expect(b':')?;
        Ok(Some(key))
    }

    /// A value that is no object.
    pub(crate) fn value(&mut self) -> Result<Scalar> {
        match self.next_byte() {
            Some(b'[') => Ok(Scalar::Array(self.skip()?)),
            _ => self.scalar(),
        }
    }

    /// A value that is no object and no array.
    pub(crate) fn scalar(&mut self) -> Result<Scalar> {
        self.blanks();
        match self.peek() {
            Some(b'"') => Ok(Scalar::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => Ok(Scalar::Number(self.number()?)),
            Some(b'n') => self.literal(b"null", Scalar::Null),
            Some(b't') => self.literal(b"true", Scalar::True),
            Some(b'f') => self.literal(b"false", Scalar::False),
            _ => Err(self.malformed()),
        }
    }

    /// Steps over any value and says where it stands.
    pub(crate) fn skip(&mut self) -> Result<Range<usize>> {
        self.blanks();
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match self.peek().ok_or(self.malformed())? {
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1).ok_or(self.malformed())?;
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    self.scalar()?;
                }
            }
            if depth == 0 {
                return Ok(start..self.at);
            }
        }
    }

    /// Only blanks are left.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.blanks();
        if self.at == self.text.len() { Ok(()) } else { Err(self.malformed()) }
    }

    /// The first byte behind the blanks, which stays.
    pub(crate) fn next_byte(&mut self) -> Option<u8> {
        self.blanks();
        self.peek()
    }

    /// Takes the byte that [`Scanner::next_byte`] saw.
    pub(crate) fn step(&mut self) {
        self.at += 1;
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn malformed(&self) -> Malformed {
        Malformed { at: self.at }
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        self.blanks();
        if self.peek() != Some(byte) {
            return Err(self.malformed());
        }
        self.at += 1;
        Ok(())
    }

    fn literal(&mut self, word: &[u8], meaning: Scalar) -> Result<Scalar> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.malformed());
        }
        self.at += word.len();
        Ok(meaning)
    }

    fn string(&mut self) -> Result<RawString> {
        if self.peek() != Some(b'"') {
            return Err(self.malformed());
        }
        let start = self.at + 1;
        let mut at = start;
        loop {
            let rest = self.text.get(at..).ok_or(self.malformed())?;
            at += memchr::memchr2(b'"', b'\\', rest).ok_or(self.malformed())?;
            if self.text[at] == b'"' {
                self.at = at + 1;
                let escaped = memchr::memchr(b'\\', &self.text[start..at]).is_some();
                return Ok(RawString { range: start..at, escaped });
            }
            at += 2;
        }
    }

    /// RFC 8259, section 6, but for leading zeros, which are let through.
    fn number(&mut self) -> Result<Range<usize>> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        self.digits()?;
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(start..self.at)
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.malformed()) } else { Ok(()) }
    }
}

/// Appends the meaning of a string's raw bytes; `false` when an escape has none. The bytes must be UTF-8.
#[must_use]
pub(crate) fn unescape(out: &mut Vec<u8>, raw: &[u8]) -> bool {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let Some(length) = escape(out, &rest[at + 1..]) else { return false };
        rest = &rest[at + 1 + length..];
    }
    out.extend_from_slice(rest);
    true
}

/// Appends what follows a backslash and says how many bytes that were.
fn escape(out: &mut Vec<u8>, text: &[u8]) -> Option<usize> {
    let byte = match text.first()? {
        byte @ (b'"' | b'\\' | b'/') => *byte,
        b'b' => 0x08,
        b'f' => 0x0C,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => return unicode(out, &text[1..]).map(|length| length + 1),
        _ => return None,
    };
    out.push(byte);
    Some(1)
}

/// `XXXX`, or `XXXX\uXXXX` for a surrogate pair.
fn unicode(out: &mut Vec<u8>, text: &[u8]) -> Option<usize> {
    let first = hex4(text)?;
    let (code, length) = match first {
        0xD800..0xDC00 => {
            let second = text.get(4..6).filter(|mark| mark == b"\\u").and(text.get(6..)).and_then(hex4)?;
            let low = second.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
            (0x1_0000 + ((first - 0xD800) << 10) + low, 10)
        }
        code => (code, 4),
    };
    out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(length)
}

fn hex4(text: &[u8]) -> Option<u32> {
    let digits = text.get(..4)?;
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(text: &str) -> Result<Vec<String>> {
        let mut scanner = Scanner::new(text.as_bytes());
        scanner.enter()?;
        let mut keys = Vec::new();
        while let Some(key) = scanner.key(keys.is_empty())? {
            keys.push(text[key.range].to_owned());
            scanner.skip()?;
        }
        scanner.finish()?;
        Ok(keys)
    }

    #[test]
    fn keys_are_found_around_values_of_every_form() {
        let text = r#" { "a" : 1 , "b":{"x":[1,{"y":"}\""}]},"c":"\\","d":[], "e":null,"f":-1.5e+07 } "#;
        assert_eq!(keys(text).unwrap(), ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(keys("{}").unwrap(), [""; 0]);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "{", "[]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1 \"b\":2}", "{\"a\":tru}", "{}x"]
        {
            assert!(keys(text).is_err(), "{text}");
        }
        for text in ["{\"a", "{\"a\":\"\\", "{\"a\":[1", "{\"a\":]}", "{\"a\":-}", "{\"a\":1.}", "{\"a\":1e}"]
        {
            assert!(keys(text).is_err(), "{text}");
        }
    }

    #[test]
    fn escapes_without_a_meaning_are_refused() {
        for raw in [r"\", r"\x", r"\u12", r"\ud800", r"\ud800\u0041", r"\udc00", r"\ud800\n1234"] {
            assert!(!unescape(&mut Vec::new(), raw.as_bytes()), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn strings_mean_what_serde_json_says(value in any::<String>()) {
            let quoted = serde_json::to_string(&value).unwrap();
            let ascii: String = value.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            for raw in [&quoted[1..quoted.len() - 1], &ascii] {
                let mut out = Vec::new();
                prop_assert!(unescape(&mut out, raw.as_bytes()));
                prop_assert_eq!(&out, value.as_bytes());
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            drop(keys(&text));
        }
    }
}
