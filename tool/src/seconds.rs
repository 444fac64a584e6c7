// SPDX-License-Identifier: MPL-2.0
//! Seconds on the command line: a number that every clock here can take.

/// A year. What is longer is a slip of the finger, and could not be added to a time.
const LONGEST: f64 = 31_536_000.0;

/// Seconds, 0 to a year, fractions too.
///
/// # Errors
/// What was expected, for clap.
pub fn seconds(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if (0.0..=LONGEST).contains(&value) => Ok(value),
        _ => Err(format!("expected seconds, 0 to {LONGEST} (a year)")),
    }
}

/// The same, without 0: how long something is to last.
///
/// # Errors
/// What was expected, for clap.
pub fn some_seconds(text: &str) -> Result<f64, String> {
    match seconds(text) {
        // Less than a millisecond lasts no time at all.
        Ok(value) if value >= 0.001 => Ok(value),
        _ => Err(format!("expected seconds, 0.001 to {LONGEST} (a year)")),
    }
}

/// Whole seconds, 0 to a year.
///
/// # Errors
/// What was expected, for clap.
pub fn whole_seconds(text: &str) -> Result<u32, String> {
    match text.trim().parse::<u32>() {
        Ok(value) if f64::from(value) <= LONGEST => Ok(value),
        _ => Err(format!("expected whole seconds, 0 to {LONGEST} (a year)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn what_no_clock_can_take_is_refused() {
        for wrong in ["1e300", "1e12", "inf", "NaN", "-1", "", "a", "18446744073709551615", "31536001"] {
            assert!(seconds(wrong).is_err() && some_seconds(wrong).is_err(), "{wrong}");
            assert!(whole_seconds(wrong).is_err(), "{wrong}");
        }
        assert!(some_seconds("0").is_err() && some_seconds("1e-9").is_err());
        let most = seconds("31536000").expect("a year");
        assert!(Instant::now().checked_add(Duration::from_secs_f64(most)).is_some());
        assert_eq!(whole_seconds("0"), Ok(0));
        assert_eq!(some_seconds("0.5"), Ok(0.5));
    }
}
