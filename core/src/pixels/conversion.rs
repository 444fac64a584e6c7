// SPDX-License-Identifier: MPL-2.0
//! What becomes what, as one value: the processor and the GPU take the same.

use thiserror::Error;

use super::Options;
use crate::frame::{ChannelOrder, Fourth, PixelFormat, SampleType};

/// How one sample lies on a wire. Little-endian. One type more than [`SampleType`]: what a GPU's programs write and no
/// other protocol has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum WireSample {
    /// 8-bit unsigned; 255 is 1.0.
    U8 = 0,
    /// 16-bit unsigned; 65535 is 1.0.
    U16 = 1,
    /// IEEE 754 binary16.
    F16 = 2,
    /// IEEE 754 binary32.
    F32 = 3,
    /// bfloat16: the upper half of an IEEE 754 binary32. It is read, never written.
    Bf16 = 4,
}

impl WireSample {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::U8, Self::U16, Self::F16, Self::F32, Self::Bf16];

    /// Bytes per sample.
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    /// The same as a frame's sample; `None` for bfloat16, which no frame has.
    pub const fn plain(self) -> Option<SampleType> {
        match self {
            Self::U8 => Some(SampleType::U8),
            Self::U16 => Some(SampleType::U16),
            Self::F16 => Some(SampleType::F16),
            Self::F32 => Some(SampleType::F32),
            Self::Bf16 => None,
        }
    }
}

impl From<SampleType> for WireSample {
    fn from(sample: SampleType) -> Self {
        match sample {
            SampleType::U8 => Self::U8,
            SampleType::U16 => Self::U16,
            SampleType::F16 => Self::F16,
            SampleType::F32 => Self::F32,
        }
    }
}

/// Which components a pixel on a wire has, in the order of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Components {
    /// One: read as R = G = B, written from R.
    Grey = 0,
    /// R and G; B is read as 0.
    RedGreen = 1,
    /// Grey, as above, and alpha.
    GreyAlpha = 2,
    /// R, G, B.
    Rgb = 3,
    /// B, G, R.
    Bgr = 4,
    /// R, G, B, alpha.
    Rgba = 5,
    /// B, G, R, alpha.
    Bgra = 6,
    /// R, G, B, padding, which is never read, and written as maximum.
    Rgbx = 7,
    /// B, G, R, padding.
    Bgrx = 8,
}

impl Components {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Grey,
        Self::RedGreen,
        Self::GreyAlpha,
        Self::Rgb,
        Self::Bgr,
        Self::Rgba,
        Self::Bgra,
        Self::Rgbx,
        Self::Bgrx,
    ];

    /// How many.
    pub const fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::RedGreen | Self::GreyAlpha => 2,
            Self::Rgb | Self::Bgr => 3,
            Self::Rgba | Self::Bgra | Self::Rgbx | Self::Bgrx => 4,
        }
    }
}

/// One pixel on a wire, tightly packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Wire {
    /// Type of each component.
    pub sample: WireSample,
    /// Which components there are.
    pub components: Components,
}

impl Wire {
    /// Bytes per pixel.
    pub const fn pixel_bytes(self) -> usize {
        self.sample.bytes() * self.components.count()
    }
}

impl From<PixelFormat> for Wire {
    fn from(format: PixelFormat) -> Self {
        use ChannelOrder::{Bgra, Rgba};
        let components = match (format.channels, format.order, format.fourth) {
            (1, ..) => Components::Grey,
            (2, ..) => Components::RedGreen,
            (3, Rgba, _) => Components::Rgb,
            (3, Bgra, _) => Components::Bgr,
            (_, Rgba, Fourth::Alpha) => Components::Rgba,
            (_, Bgra, Fourth::Alpha) => Components::Bgra,
            (_, Rgba, Fourth::Padding) => Components::Rgbx,
            (_, Bgra, Fourth::Padding) => Components::Bgrx,
        };
        Self { sample: format.sample.into(), components }
    }
}

/// How luma and chroma are made of colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Matrix {
    /// ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B.
    Bt601 = 0,
    /// ITU-R BT.709: 0.2126 R + 0.7152 G + 0.0722 B.
    Bt709 = 1,
    /// ITU-R BT.2020, not constant luminance: 0.2627 R + 0.6780 G + 0.0593 B.
    Bt2020 = 2,
}

/// Which codes mean black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Range {
    /// Of 8 bits, 16 to 235 for luma and 16 to 240 for chroma; of 10 bits four times that.
    Limited = 0,
    /// All codes.
    Full = 1,
}

/// Where the Cb and Cr of 2 × 2 pixels stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ChromaSite {
    /// In the middle of the four: JPEG and MPEG-1, `jpeg` in caps.
    Middle = 0,
    /// Between the two pixels of the left column: MPEG-2, and H.264 and HEVC where they say nothing else; `mpeg2` in caps.
    Left = 1,
}

impl ChromaSite {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Middle, Self::Left];
}

/// What the codes of luma and chroma mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Yuv {
    /// Of colour to luma and chroma.
    pub matrix: Matrix,
    /// Black and white.
    pub range: Range,
    /// Where chroma stands.
    pub site: ChromaSite,
}

/// A picture that the rest of the world takes: GStreamer's format of that name. Row 0 is the first row of its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Picture {
    /// Four bytes: R, G, B, alpha.
    Rgba,
    /// Four bytes: B, G, R, alpha.
    Bgra,
    /// Four bytes: R, G, B, padding, written as 255 and never read.
    Rgbx,
    /// Four bytes: B, G, R, padding.
    Bgrx,
    /// Three bytes: R, G, B.
    Rgb,
    /// Three bytes: B, G, R.
    Bgr,
    /// `RGB10A2_LE`: a word of 32 bits, 10 of R, the lowest, 10 of G, 10 of B, 2 of alpha.
    Rgb10A2,
    /// Two planes: a byte of luma per pixel, and a byte of Cb and one of Cr for each 2 × 2 pixels.
    Nv12(Yuv),
    /// `P010_10LE`: the same with 10 bits, the upper ones of 16.
    P010(Yuv),
}

/// What a plane needs for a picture of some size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaneSize {
    /// Bytes of a row, without padding.
    pub row_bytes: usize,
    /// How many rows.
    pub rows: usize,
    /// What a row's address and the distance of rows must be multiples of.
    pub align: usize,
}

impl Picture {
    /// The number that kernels know it by.
    pub const fn code(self) -> u32 {
        match self {
            Self::Rgba => 0,
            Self::Bgra => 1,
            Self::Rgbx => 2,
            Self::Bgrx => 3,
            Self::Rgb => 4,
            Self::Bgr => 5,
            Self::Rgb10A2 => 6,
            Self::Nv12(_) => 7,
            Self::P010(_) => 8,
        }
    }

    /// Matrix, range and site, where there are luma and chroma.
    pub const fn yuv(self) -> Option<Yuv> {
        match self {
            Self::Nv12(yuv) | Self::P010(yuv) => Some(yuv),
            _ => None,
        }
    }

    /// Its planes, for a picture of this size: the only one, or luma and chroma. Chroma of odd sizes is rounded up.
    pub const fn planes(self, width: usize, height: usize) -> [Option<PlaneSize>; 2] {
        let (pixel, align) = match self {
            Self::Rgba | Self::Bgra | Self::Rgbx | Self::Bgrx => (4, 1),
            Self::Rgb | Self::Bgr => (3, 1),
            Self::Rgb10A2 => (4, 4),
            Self::Nv12(_) => (1, 1),
            Self::P010(_) => (2, 2),
        };
        let first = PlaneSize { row_bytes: width.saturating_mul(pixel), rows: height, align };
        let chroma = match self {
            Self::Nv12(_) | Self::P010(_) => Some(PlaneSize {
                row_bytes: width.div_ceil(2).saturating_mul(2 * pixel),
                rows: height.div_ceil(2),
                align,
            }),
            _ => None,
        };
        [Some(first), chroma]
    }
}

/// Where a conversion goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From a wire to a picture: what a source does.
    ToPicture,
    /// From a picture to a wire: what a sink does.
    ToWire,
}

/// Why there is no such conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConversionError {
    /// bfloat16 is only read.
    #[error("bfloat16 is read from a wire and never written to one; write f16 or f32")]
    Bf16,
}

/// A checked description of what becomes what. [`FrameConverter`](super::FrameConverter) does it on the processor,
/// `cuda::convert` on a GPU, with the same results: see [the module](super).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conversion {
    direction: Direction,
    wire: Wire,
    picture: Picture,
    flip: bool,
    options: Options,
}

impl Conversion {
    /// Pixels of a wire become a picture.
    pub fn to_picture(wire: impl Into<Wire>, picture: Picture) -> Self {
        let (direction, options) = (Direction::ToPicture, Options::default());
        Self { direction, wire: wire.into(), picture, flip: false, options }
    }

    /// A picture becomes pixels of a wire.
    ///
    /// # Errors
    /// [`ConversionError::Bf16`].
    pub fn to_wire(picture: Picture, wire: impl Into<Wire>) -> Result<Self, ConversionError> {
        let (direction, wire) = (Direction::ToWire, wire.into());
        match wire.sample.plain() {
            Some(_) => Ok(Self { direction, wire, picture, flip: false, options: Options::default() }),
            None => Err(ConversionError::Bf16),
        }
    }

    /// The same, and the first row becomes the last, or not.
    #[must_use]
    pub const fn flipped(self, flip: bool) -> Self {
        Self { flip, ..self }
    }

    /// The same with these options.
    #[must_use]
    pub const fn with(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// Where it goes.
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// Pixels of the wire.
    pub const fn wire(&self) -> Wire {
        self.wire
    }

    /// The picture.
    pub const fn picture(&self) -> Picture {
        self.picture
    }

    /// Whether the first row becomes the last.
    pub const fn flips(&self) -> bool {
        self.flip
    }

    /// Alpha, transfer, reference white, primaries.
    pub const fn options(&self) -> Options {
        self.options
    }

    /// Planes of source and destination for a picture of this size.
    pub const fn planes(&self, width: usize, height: usize) -> ([Option<PlaneSize>; 2], [Option<PlaneSize>; 2]) {
        let row_bytes = width.saturating_mul(self.wire.pixel_bytes());
        let wire = [Some(PlaneSize { row_bytes, rows: height, align: self.wire.sample.bytes() }), None];
        let picture = self.picture.planes(width, height);
        match self.direction {
            Direction::ToPicture => (wire, picture),
            Direction::ToWire => (picture, wire),
        }
    }
}
