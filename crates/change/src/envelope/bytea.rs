//! `bytea` between Postgres' hex and base64, in pieces on the stack.

use base64::{DecodeSliceError, Engine, engine::general_purpose::STANDARD};

/// A multiple of three, so that only the last piece has padding.
const PIECE: usize = 768;

/// Appends the JSON string for `\x…`; `false` when the text is none.
#[must_use]
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(hex) = text.strip_prefix(b"\\x").filter(|hex| hex.len().is_multiple_of(2)) else { return false };
    out.push(b'"');
    let mut raw = [0; PIECE];
    let mut base64 = [0; PIECE / 3 * 4];
    for piece in hex.chunks(PIECE * 2) {
        for (byte, pair) in raw.iter_mut().zip(piece.chunks_exact(2)) {
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return false };
            *byte = high << 4 | low;
        }
        let Ok(length) = STANDARD.encode_slice(&raw[..piece.len() / 2], &mut base64) else { return false };
        out.extend_from_slice(&base64[..length]);
    }
    out.push(b'"');
    true
}

/// Appends `\x…` for a base64 text; `false` when the text is none.
#[must_use]
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut raw = [0; PIECE];
    out.extend_from_slice(b"\\x");
    let pieces = text.chunks(PIECE / 3 * 4);
    let last = pieces.len();
    for (position, piece) in (1..).zip(pieces) {
        let decoded: Result<usize, DecodeSliceError> = STANDARD.decode_slice(piece, &mut raw);
        let Ok(length) = decoded else { return false };
        if position < last && length < PIECE {
            return false; // padding before the end
        }
        for byte in &raw[..length] {
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    true
}

fn digit(hex: u8) -> Option<u8> {
    match hex {
        b'0'..=b'9' => Some(hex - b'0'),
        b'a'..=b'f' => Some(hex - b'a' + 10),
        _ => None,
    }
}
