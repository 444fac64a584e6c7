// SPDX-License-Identifier: MPL-2.0
//! A film, decoded to grey and read.

use std::path::Path;
use std::process::{Command, Stdio};

/// Columns that are a number.
const BITS: usize = 16;

/// All pictures of a film.
pub struct Film {
    width: usize,
    height: usize,
    bytes: Vec<u8>,
}

impl Film {
    /// Decodes a film of known size; what has another size fails.
    pub fn decode(file: &Path, (width, height): (usize, usize)) -> Self {
        assert_eq!(width % 4, 0, "rows without padding");
        let caps = format!("video/x-raw,format=GRAY8,width={width},height={height}");
        let mut command = Command::new("gst-launch-1.0");
        command.args(["-q", "filesrc", &format!("location={}", file.display()), "!", "decodebin", "!", "videoconvert"]);
        command.args(["!", &caps, "!", "fdsink", "fd=1"]).env("GST_REGISTRY", super::registry());
        let output = command.stdin(Stdio::null()).output().expect("gst-launch-1.0 starts");
        let complaint = String::from_utf8_lossy(&output.stderr);
        // A file that ends in the middle plays to there.
        assert!(!output.stdout.is_empty(), "{} does not play: {complaint}", file.display());
        Self { width, height, bytes: output.stdout }
    }

    fn pictures(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.width * self.height)
    }

    pub fn len(&self) -> usize {
        self.pictures().count()
    }

    /// The number in each picture.
    pub fn numbers(&self) -> Vec<u64> {
        let row = self.height / 2 * self.width;
        let bit = |picture: &[u8], at: usize| u64::from(picture[row + (2 * at + 1) * self.width / (2 * BITS)] > 127);
        self.pictures().map(|picture| (0..BITS).fold(0, |number, at| number << 1 | bit(picture, at))).collect()
    }

    /// The grey of a pixel of the last picture.
    pub fn last_at(&self, x: usize, y: usize) -> u8 {
        self.pictures().last().expect("a film has pictures")[y * self.width + x]
    }
}

/// Numbers never fall.
pub fn assert_in_order(numbers: &[u64]) {
    let falls = numbers.windows(2).position(|pair| pair[1] < pair[0]);
    assert_eq!(falls, None, "a number falls: {numbers:?}");
}
