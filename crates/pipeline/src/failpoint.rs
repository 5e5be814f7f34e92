//! Named places to crash in, for the crash tests. Compiled into debug builds only; a release build has none.
//!
//! A test starts the real binary with one point armed. When the process reaches it (for the n-th time) it writes the
//! point's name to a file and stands still for ever; the test sees the file and kills the process with SIGKILL.

#[cfg(debug_assertions)]
mod armed {
    use std::{
        path::PathBuf,
        sync::{
            OnceLock,
            atomic::{AtomicU64, Ordering},
        },
    };

    static ARMED: OnceLock<Armed> = OnceLock::new();

    struct Armed {
        point: String,
        left: AtomicU64,
        report: PathBuf,
    }

    /// Arms one point: the process stands still when it reaches `point` for the `nth` time (from 1) and says so by
    /// creating the file `report`.
    pub fn arm(point: impl Into<String>, nth: u64, report: impl Into<PathBuf>) {
        let armed = Armed { point: point.into(), left: AtomicU64::new(nth.max(1)), report: report.into() };
        drop(ARMED.set(armed));
    }

    /// Passes by, unless this point is armed and its turn has come.
    pub fn reach(point: &str) {
        let Some(armed) = ARMED.get().filter(|armed| armed.point == point) else { return };
        if armed.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        if let Err(error) = std::fs::write(&armed.report, point) {
            tracing::error!(point, %error, "cannot report a failpoint");
        }
        loop {
            std::thread::park();
        }
    }

    /// Whether this point is armed, for places that must take another way to be reachable at all.
    pub fn is_armed(point: &str) -> bool {
        ARMED.get().is_some_and(|armed| armed.point == point)
    }
}

#[cfg(debug_assertions)]
pub use armed::{arm, is_armed, reach};

/// Passes by: a release build has no failpoints.
#[cfg(not(debug_assertions))]
pub fn reach(_point: &str) {}

/// No: a release build has no failpoints.
#[cfg(not(debug_assertions))]
#[must_use]
pub fn is_armed(_point: &str) -> bool {
    false
}
