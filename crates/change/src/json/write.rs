//! Writing JSON strings.

/// Appends a text as a JSON string with its quotes; `false`, and nothing is appended, when it is not UTF-8.
#[must_use]
pub(crate) fn string(out: &mut Vec<u8>, text: &[u8]) -> bool {
    if std::str::from_utf8(text).is_err() {
        return false;
    }
    out.push(b'"');
    let mut copied = 0;
    for (index, byte) in text.iter().enumerate() {
        if ESCAPES[usize::from(*byte)] != 0 {
            out.extend_from_slice(&text[copied..index]);
            escape(out, *byte);
            copied = index + 1;
        }
    }
    out.extend_from_slice(&text[copied..]);
    out.push(b'"');
    true
}

/// Appends a text of ours, which is UTF-8 by its type.
pub(crate) fn text(out: &mut Vec<u8>, value: &str) {
    let written = string(out, value.as_bytes());
    debug_assert!(written, "a str is UTF-8");
}

/// Appends an integer.
pub(crate) fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match ESCAPES[usize::from(byte)] {
        b'u' => out.extend_from_slice(&[
            b'\\',
            b'u',
            b'0',
            b'0',
            HEX[usize::from(byte >> 4)],
            HEX[usize::from(byte & 15)],
        ]),
        letter => out.extend_from_slice(&[b'\\', letter]),
    }
}

/// For each byte the letter that follows the backslash, `u` for `\u00xx`, 0 where nothing is escaped (RFC 8259, 7).
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0A] = b'n';
    table[0x0C] = b'f';
    table[0x0D] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_read_back_by_serde_json_are_the_same() {
        let controls: String = (1..0x20u8).map(char::from).collect();
        for value in ["", "plain", "\"\\/", "ä€🛒", "\u{7f}\u{2028}", &controls] {
            let mut out = Vec::new();
            assert!(string(&mut out, value.as_bytes()));
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), value);
        }
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        let mut out = b"x".to_vec();
        assert!(!string(&mut out, b"\xff"));
        assert_eq!(out, b"x");
    }
}
