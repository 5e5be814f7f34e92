use std::net::{Ipv4Addr, TcpListener};

use crate::error::{Error, Result};
use crate::random;

/// Below the range from which the kernel takes the ports of outgoing connections (32768 and up),
/// so that a port kept between two starts is not taken by one of those.
const FIRST: u16 = 20_000;
const LAST: u16 = 31_999;
const ATTEMPTS: usize = 100;

/// Whether nobody listens on the port of the loopback address.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A free port that is none of `taken`.
pub(crate) fn find_free(taken: &[u16]) -> Result<u16> {
    for _ in 0..ATTEMPTS {
        let port = FIRST + random::number()? % (LAST - FIRST + 1);
        if !taken.contains(&port) && is_free(port) {
            return Ok(port);
        }
    }
    Err(Error::NoFreePort { first: FIRST, last: LAST })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
        let port = find_free(&[]).unwrap();
        assert!((FIRST..=LAST).contains(&port));
    }
}
