// SPDX-License-Identifier: MPL-2.0
//! What frames of a segment are, in the wire's words and in ours.

use std::fmt;

use super::layout::{FLAG_BFLOAT16, FLAG_BGRA, FLAG_MONO_ALPHA};
use crate::frame::{ChannelOrder, FrameDesc, PixelFormat, SampleType};

/// How one component is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// 8-bit unsigned.
    U8,
    /// 16-bit unsigned.
    U16,
    /// IEEE 754 binary16.
    F16,
    /// IEEE 754 binary32.
    F32,
    /// The upper half of a binary32.
    Bf16,
    /// 8-bit signed.
    I8,
    /// 16-bit signed.
    I16,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::U8, Self::U16, Self::F16, Self::F32, Self::Bf16, Self::I8, Self::I16];

    /// What the wire says: kind of number, bits, and the one flag that is part of it.
    pub const fn triple(self) -> (u8, u8, u16) {
        match self {
            Self::F32 => (2, 32, 0),
            Self::F16 => (2, 16, 0),
            Self::Bf16 => (2, 16, FLAG_BFLOAT16),
            Self::U8 => (1, 8, 0),
            Self::U16 => (1, 16, 0),
            Self::I8 => (0, 8, 0),
            Self::I16 => (0, 16, 0),
        }
    }

    /// The format of a triple; other flags than bfloat16's are no part of it.
    pub fn of(kind: u8, bits: u8, flags: u16) -> Option<Self> {
        let triple = (kind, bits, flags & FLAG_BFLOAT16);
        Self::ALL.into_iter().find(|format| format.triple() == triple)
    }

    /// Bytes of one component.
    pub const fn bytes(self) -> usize {
        self.triple().1 as usize / 8
    }

    /// Our word for it; `None` for what nobody but its own programs works with.
    pub const fn sample(self) -> Option<SampleType> {
        match self {
            Self::U8 => Some(SampleType::U8),
            Self::U16 => Some(SampleType::U16),
            Self::F16 => Some(SampleType::F16),
            Self::F32 => Some(SampleType::F32),
            Self::Bf16 | Self::I8 | Self::I16 => None,
        }
    }
}

impl From<SampleType> for Format {
    fn from(sample: SampleType) -> Self {
        match sample {
            SampleType::U8 => Self::U8,
            SampleType::U16 => Self::U16,
            SampleType::F16 => Self::F16,
            SampleType::F32 => Self::F32,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::F16 => "float16",
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
            Self::I8 => "int8",
            Self::I16 => "int16",
        })
    }
}

/// Frames of one generation. Rows are tight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Description {
    /// Pixels of a row; at least 1.
    pub width: u32,
    /// Rows; at least 1.
    pub height: u32,
    /// Components of a pixel, 1 to 4.
    pub channels: u8,
    /// One component.
    pub format: Format,
    /// The wire's flags, unknown ones included.
    pub flags: u16,
}

impl Description {
    /// What is to be said of frames like `frame`. `legacy_flags`: without the flag that says B G R A, which readers before
    /// 1.8.0 take for another format. `None` for frames without a pixel, and of 4 GiB or more.
    pub fn new(frame: &FrameDesc, legacy_flags: bool) -> Option<Self> {
        let (pixels, format) = (frame.format, Format::from(frame.format.sample));
        let bgra = pixels.channels == 4 && format == Format::U8 && pixels.order == ChannelOrder::Bgra;
        let flags = if bgra && !legacy_flags { FLAG_BGRA } else { 0 };
        let (width, height, channels) = (frame.width, frame.height, pixels.channels);
        let fits = frame.bytes().is_some_and(|bytes| (1..=u32::MAX as usize).contains(&bytes));
        fits.then_some(Self { width, height, channels, format, flags })
    }

    /// Bytes of a pixel.
    pub const fn pixel_bytes(&self) -> usize {
        self.format.bytes() * self.channels as usize
    }

    /// Bytes of a row.
    pub const fn row_bytes(&self) -> usize {
        self.width as usize * self.pixel_bytes()
    }

    /// Bytes of a frame. Both ways to a description have made sure that it fits.
    pub const fn frame_bytes(&self) -> u32 {
        (self.row_bytes() * self.height as usize) as u32
    }

    /// Whether two components are grey and alpha, as they are told.
    pub const fn is_mono_alpha(&self) -> bool {
        self.channels == 2 && self.flags & FLAG_MONO_ALPHA != 0
    }

    /// In which order colour components are. 4 × `uint8` is B G R A whether the flag says so or not: that is what
    /// TouchDesigner's CUDA memory is, and its own Python side sets no flag. Everything else is R G B A.
    pub fn order(&self) -> ChannelOrder {
        let bgra = self.channels == 4 && self.format == Format::U8;
        if bgra { ChannelOrder::Bgra } else { ChannelOrder::Rgba }
    }

    /// One pixel, if we have a word for it. `order`: what the user says it is, if not [`Description::order`].
    pub fn pixel_format(&self, order: Option<ChannelOrder>) -> Option<PixelFormat> {
        PixelFormat::new(self.format.sample()?, self.channels, order.unwrap_or_else(|| self.order()))
    }
}

impl fmt::Display for Description {
    /// For example `640×480 uint8×4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{} {}×{}", self.width, self.height, self.format, self.channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Origin;

    fn frame(width: u32, height: u32, sample: SampleType, channels: u8, order: ChannelOrder) -> FrameDesc {
        FrameDesc { width, height, format: PixelFormat::new(sample, channels, order).unwrap(), origin: Origin::TopLeft }
    }

    #[test]
    fn every_format_has_a_triple_of_its_own_and_no_other_triple_is_one() {
        for kind in 0..=if cfg!(miri) { 4 } else { 255 } {
            for bits in (0..=255).step_by(if cfg!(miri) { 8 } else { 1 }) {
                for flags in [0, 1, 2, 4, 6, 0x80, 0xFFFE, 0xFFFF] {
                    if let Some(format) = Format::of(kind, bits, flags) {
                        assert_eq!(format.triple(), (kind, bits, flags & 1));
                    }
                }
            }
        }
        for format in Format::ALL {
            let (kind, bits, flags) = format.triple();
            assert_eq!(Format::of(kind, bits, flags | 0xFFFE), Some(format), "other flags are no part of it");
        }
        assert_eq!((Format::of(7, 8, 0), Format::of(2, 8, 0), Format::of(1, 8, 1)), (None, None, None));
    }

    #[test]
    fn bgra_is_said_where_it_is_and_wanted() {
        let bgra = frame(64, 48, SampleType::U8, 4, ChannelOrder::Bgra);
        assert_eq!(Description::new(&bgra, false).unwrap().flags, 4);
        assert_eq!(Description::new(&bgra, true).unwrap().flags, 0);
        let float = frame(64, 48, SampleType::F32, 4, ChannelOrder::Bgra);
        assert_eq!(Description::new(&float, false).unwrap().flags, 0);
        let rgba = frame(64, 48, SampleType::U8, 4, ChannelOrder::Rgba);
        assert_eq!(Description::new(&rgba, false).unwrap().flags, 0);
    }

    #[test]
    fn what_cannot_be_announced_is_no_description() {
        let of = |width, height, sample| Description::new(&frame(width, height, sample, 4, ChannelOrder::Rgba), false);
        assert_eq!(of(16384, 16384, SampleType::F32), None, "4 GiB");
        assert!(of(16384, 16383, SampleType::F32).is_some());
        assert_eq!(of(0, 5, SampleType::U8), None);
        assert_eq!(of(u32::MAX, u32::MAX, SampleType::F32), None);
        assert_eq!(of(7680, 4320, SampleType::U8).unwrap().frame_bytes(), 7680 * 4320 * 4);
    }

    #[test]
    fn eight_bit_colour_with_alpha_is_bgra_by_default_and_everything_else_rgba() {
        let described = |format, channels, flags| Description { width: 1, height: 1, channels, format, flags };
        assert_eq!(described(Format::U8, 4, 0).order(), ChannelOrder::Bgra);
        assert_eq!(described(Format::U8, 4, FLAG_BGRA).order(), ChannelOrder::Bgra);
        assert_eq!(described(Format::F32, 4, 0).order(), ChannelOrder::Rgba);
        assert_eq!(described(Format::U8, 3, 0).order(), ChannelOrder::Rgba);
        let rgba = described(Format::U8, 4, 0).pixel_format(Some(ChannelOrder::Rgba)).unwrap();
        assert_eq!(rgba.order, ChannelOrder::Rgba);
        assert_eq!(described(Format::Bf16, 4, 1).pixel_format(None), None);
        assert!(described(Format::U8, 2, FLAG_MONO_ALPHA).is_mono_alpha());
        assert!(!described(Format::U8, 4, FLAG_MONO_ALPHA).is_mono_alpha());
    }
}
