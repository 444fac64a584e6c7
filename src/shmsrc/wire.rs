// SPDX-License-Identifier: MPL-2.0
//! A private copy of a frame as it stands on the wire, for hashing what the other side would hash.

use tdlink_core::{
    frame::{FrameDesc, Origin, PixelFormat},
    pixels::{Converter, Options, RowError},
};

use super::hash::Hasher;

/// One frame in the wire's own pixels, top row first, and what its pixels become.
#[derive(Debug)]
pub struct Converted {
    desc: FrameDesc,
    bytes: Vec<u8>,
    converter: Converter,
    /// Bytes per row of the target.
    target_row: usize,
}

impl Converted {
    /// Memory for frames of `desc`.
    pub fn new(desc: FrameDesc, to: PixelFormat, options: Options) -> Self {
        Self {
            desc,
            bytes: vec![0; desc.bytes().unwrap_or_default()],
            converter: Converter::new(desc.format, to, options),
            target_row: desc.width as usize * to.bytes(),
        }
    }

    /// Where a frame is to be read to, and the bytes from one row to the next.
    pub fn wire_rows(&mut self) -> (&mut [u8], usize) {
        (&mut self.bytes, self.desc.row_bytes())
    }

    /// Hash of the frame's bytes in the order in which they stand on the wire.
    pub fn hash(&self, hasher: &mut Hasher) -> String {
        match self.desc.origin {
            Origin::TopLeft => hasher.update(&self.bytes),
            Origin::BottomLeft => {
                self.bytes.chunks_exact(self.desc.row_bytes()).rev().for_each(|row| hasher.update(row));
            }
        }
        hasher.finish()
    }

    /// Converts the frame into `rows`, `stride` bytes apart.
    pub fn write(&mut self, rows: &mut [u8], stride: usize) -> Result<(), RowError> {
        for (from, to) in self.bytes.chunks_exact(self.desc.row_bytes()).zip(rows.chunks_mut(stride)) {
            // The last row may lack its padding, never its pixels: the frame was mapped as one.
            let to = to.get_mut(..self.target_row).unwrap_or_default();
            self.converter.row(from, to)?;
        }
        Ok(())
    }
}
