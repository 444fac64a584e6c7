// SPDX-License-Identifier: MPL-2.0
//! One frame, upright, in private memory.

use tdlink_core::frame::{ChannelOrder, Fourth, FrameDesc, PixelFormat, SampleType};
use tdlink_core::pixels::{Converter, Options};

use crate::failure::Failure;

/// One frame: top row first, rows without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// One pixel.
    pub format: PixelFormat,
    /// `width` × `height` of it.
    pub bytes: Vec<u8>,
}

/// RGBA of a sample type.
pub const fn rgba(sample: SampleType) -> PixelFormat {
    PixelFormat { sample, channels: 4, order: ChannelOrder::Rgba, fourth: Fourth::Alpha }
}

impl Picture {
    /// Black, of a frame's size and pixels. `Err` for a frame that fits no memory.
    pub fn blank(desc: &FrameDesc) -> Result<Self, Failure> {
        let bytes = desc.bytes().ok_or_else(|| Failure::Failed(format!("{desc} does not fit any memory")))?;
        let FrameDesc { width, height, format, .. } = *desc;
        Ok(Self { width, height, format, bytes: vec![0; bytes] })
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.width as usize * self.format.bytes()
    }

    /// The same pixels in another format.
    pub fn to(&self, format: PixelFormat, options: Options) -> Result<Self, Failure> {
        let mut converter = Converter::new(self.format, format, options);
        let mut bytes = vec![0; self.width as usize * self.height as usize * format.bytes()];
        converter.row(&self.bytes, &mut bytes).map_err(Failure::failed)?;
        Ok(Self { format, bytes, ..*self })
    }

    /// Components as numbers where the maximum is 1.0, R G B A.
    pub fn floats(&self) -> Result<Vec<[f32; 4]>, Failure> {
        let picture = self.to(rgba(SampleType::F32), Options::default())?;
        let samples = picture.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let samples: Vec<f32> = samples.collect();
        Ok(samples.as_chunks::<4>().0.to_vec())
    }
}
