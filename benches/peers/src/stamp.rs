// SPDX-License-Identifier: MPL-2.0
//! What a frame says about itself: its number in the first and in the last eight bytes, and between them when it left.

use tdlink_core::segment::monotonic_ns;

/// Bytes at the front of a frame: number, time.
pub const FRONT: usize = 16;
/// Bytes at its end: the number again.
pub const BACK: usize = 8;

/// Front and back of a frame that leaves now.
pub fn now(number: u64) -> ([u8; FRONT], [u8; BACK]) {
    let mut front = [0; FRONT];
    front[..8].copy_from_slice(&number.to_le_bytes());
    front[8..].copy_from_slice(&monotonic_ns().to_le_bytes());
    (front, number.to_le_bytes())
}

/// A stamp as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub number: u64,
    pub left_ns: u64,
    /// Front and back have the same number.
    pub whole: bool,
}

impl Stamp {
    pub fn of(front: [u8; FRONT], back: [u8; BACK]) -> Self {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| front[at + i]));
        Self { number: word(0), left_ns: word(8), whole: word(0) == u64::from_le_bytes(back) }
    }

    /// The stamp of a whole frame; `None` if it is too short to have one.
    pub fn in_frame(frame: &[u8]) -> Option<Self> {
        Some(Self::of(*frame.first_chunk()?, *frame.last_chunk()?))
    }
}

/// Writes a stamp into a frame; false if it is too short to take one.
pub fn write(frame: &mut [u8], number: u64) -> bool {
    if frame.len() < FRONT + BACK {
        return false;
    }
    let (front, back) = now(number);
    let end = frame.len() - BACK;
    frame[end..].copy_from_slice(&back);
    frame[..FRONT].copy_from_slice(&front);
    true
}

/// The sum of all bytes, eight at a time: what a reader that looks at everything does at least.
pub fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    rest.iter().fold(words, |sum, byte| sum.wrapping_add(u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_half_another_ones_is_not_whole() {
        let mut frame = [0u8; 64];
        assert!(write(&mut frame, 5));
        let stamp = Stamp::in_frame(&frame).unwrap();
        assert!(stamp.whole && stamp.number == 5 && stamp.left_ns <= monotonic_ns());
        frame[56..].copy_from_slice(&6u64.to_le_bytes());
        assert!(!Stamp::in_frame(&frame).unwrap().whole);
        assert!(!write(&mut [0; 23], 1));
    }

    #[test]
    fn every_byte_is_in_the_sum() {
        let mut bytes = [0u8; 27];
        let nothing = sum(&bytes);
        for at in 0..bytes.len() {
            bytes[at] = 1;
            assert_ne!(sum(&bytes), nothing, "byte {at}");
            bytes[at] = 0;
        }
    }
}
