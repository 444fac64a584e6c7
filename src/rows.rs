// SPDX-License-Identifier: MPL-2.0
//! Frames of one pixel format become frames of another, in the host's memory and in one pass.

use tdlink_core::{
    frame::{FrameDesc, Origin, PixelFormat},
    pixels::{Converter, Options, RowError},
};

/// Brings whole frames from one form to another.
#[derive(Debug)]
pub struct Frames {
    converter: Converter,
    /// Bytes of a row before and after.
    row_bytes: (usize, usize),
    rows: usize,
    flip: bool,
}

impl Frames {
    /// From `from` to the same frames with pixels `to`, whose first row stands where `origin` says.
    pub fn new(from: FrameDesc, to: PixelFormat, origin: Origin, options: Options) -> Self {
        let width = from.width as usize;
        Self {
            converter: Converter::new(from.format, to, options),
            row_bytes: (from.row_bytes(), width * to.bytes()),
            rows: from.height as usize,
            flip: from.origin != origin,
        }
    }

    /// Converts the frame at the beginning of `from`, rows `pitches.0` bytes apart, to one in `to`, rows `pitches.1` bytes
    /// apart. The last row of either needs no padding.
    ///
    /// # Errors
    /// The pixels of a row are not all there.
    pub fn convert(&mut self, from: &[u8], to: &mut [u8], pitches: (usize, usize)) -> Result<(), RowError> {
        let (read, written) = self.row_bytes;
        let rows = to.chunks_mut(pitches.1.max(1)).take(self.rows);
        for (at, row) in rows.enumerate() {
            let at = if self.flip { self.rows - 1 - at } else { at };
            let start = at * pitches.0;
            let source = from.get(start..start + read).unwrap_or_default();
            self.converter.row(source, row.get_mut(..written).unwrap_or_default())?;
            if source.len() != read {
                return Err(RowError::DestinationLength { found: source.len(), expected: read, pixels: 0 });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tdlink_core::frame::{ChannelOrder, SampleType};

    fn frame(origin: Origin) -> FrameDesc {
        let format = PixelFormat::new(SampleType::U8, 3, ChannelOrder::Rgba).unwrap();
        FrameDesc { width: 1, height: 3, format, origin }
    }

    #[test]
    fn rows_are_turned_and_components_ordered_in_one_pass() {
        let bgr = PixelFormat::new(SampleType::U8, 3, ChannelOrder::Bgra).unwrap();
        let from = [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9];
        let mut to = [0; 13];
        let mut frames = Frames::new(frame(Origin::BottomLeft), bgr, Origin::TopLeft, Options::default());
        frames.convert(&from, &mut to, (4, 5)).unwrap();
        assert_eq!(to, [9, 8, 7, 0, 0, 6, 5, 4, 0, 0, 3, 2, 1]);
    }

    #[test]
    fn a_frame_that_ends_early_is_an_error() {
        let same = frame(Origin::TopLeft);
        let mut frames = Frames::new(same, same.format, Origin::TopLeft, Options::default());
        assert!(frames.convert(&[0; 8], &mut [0; 9], (3, 3)).is_err());
        assert!(frames.convert(&[0; 9], &mut [0; 8], (3, 3)).is_err());
    }
}
