// SPDX-License-Identifier: MPL-2.0
//! A private copy of a frame as it stands on the wire, for hashing what the other side would hash.

use tdlink_core::{
    frame::{FrameDesc, Origin, PixelFormat},
    pixels::{Converter, Options},
    protocol::raw::{ConsumeError, Consumer, FrameRead},
};

use super::hash::Hasher;

/// One frame in the wire's own pixels, top row first.
#[derive(Debug)]
pub struct WireFrame {
    desc: FrameDesc,
    bytes: Vec<u8>,
    converter: Converter,
    /// Bytes per row of the target.
    target_row: usize,
}

impl WireFrame {
    /// Memory for frames of `desc`.
    pub fn new(desc: FrameDesc) -> Self {
        Self {
            desc,
            bytes: vec![0; desc.bytes().unwrap_or_default()],
            converter: Converter::new(desc.format, desc.format, Options::default()),
            target_row: desc.row_bytes(),
        }
    }

    /// What the pixels become.
    pub fn set_target(&mut self, to: PixelFormat, options: Options) {
        self.converter = Converter::new(self.desc.format, to, options);
        self.target_row = self.desc.width as usize * to.bytes();
    }

    /// Reads a frame, hashes its bytes in the order in which they stand on the wire, and converts it into `rows`.
    /// There is a hash when the frame is whole.
    pub fn read(
        &mut self,
        consumer: &mut Consumer,
        hasher: &mut Hasher,
        rows: &mut [u8],
        stride: usize,
    ) -> Result<(FrameRead, Option<String>), ConsumeError> {
        let row_bytes = self.desc.row_bytes();
        let read = consumer.read(&mut self.bytes, row_bytes)?;
        if !read.whole {
            return Ok((read, None));
        }
        match self.desc.origin {
            Origin::TopLeft => hasher.update(&self.bytes),
            Origin::BottomLeft => self.bytes.chunks_exact(row_bytes).rev().for_each(|row| hasher.update(row)),
        }
        for (from, to) in self.bytes.chunks_exact(row_bytes).zip(rows.chunks_mut(stride)) {
            // The last row may lack its padding, never its pixels: the frame was mapped as one.
            let to = to.get_mut(..self.target_row).unwrap_or_default();
            self.converter.row(from, to)?;
        }
        Ok((read, Some(hasher.finish())))
    }
}
