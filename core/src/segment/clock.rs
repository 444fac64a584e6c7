// SPDX-License-Identifier: MPL-2.0
//! The clock that all processes of a machine read the same: what times in shared memory are told in.

use std::time::Instant;

/// Nanoseconds of the monotonic clock: `CLOCK_MONOTONIC` on Unix, the performance counter on Windows.
#[cfg(unix)]
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

/// Nanoseconds of the monotonic clock: `CLOCK_MONOTONIC` on Unix, the performance counter on Windows.
#[cfg(windows)]
pub fn monotonic_ns() -> u64 {
    use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};

    let (mut ticks, mut per_second) = (0i64, 0i64);
    // SAFETY: there is room for the answer. This cannot fail on any Windows that Rust runs on.
    unsafe { QueryPerformanceCounter(&mut ticks) };
    // SAFETY: as above.
    unsafe { QueryPerformanceFrequency(&mut per_second) };
    (ticks as i128 * 1_000_000_000 / i128::from(per_second.max(1))) as u64
}

/// `moment` on the clock of [`monotonic_ns`]. What has passed is now.
pub fn monotonic_ns_at(moment: Instant) -> u64 {
    let left = moment.saturating_duration_since(Instant::now());
    monotonic_ns().saturating_add(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_to_come_is_as_far_away_on_both_clocks() {
        let before = monotonic_ns();
        let then = monotonic_ns_at(Instant::now() + Duration::from_secs(3600));
        let after = monotonic_ns();
        assert!(then >= before + 3_599_999_000_000 && then <= after + 3_600_000_000_000);
        assert!(monotonic_ns_at(Instant::now()) >= before);
    }
}
