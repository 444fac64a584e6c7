// SPDX-License-Identifier: MPL-2.0
//! How tests wait.

use std::time::{Duration, Instant};

/// Looks again and again until `look` finds something; what it waits for is outside this process and tells nobody.
pub fn poll<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
