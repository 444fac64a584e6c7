// SPDX-License-Identifier: MPL-2.0
//! What a frame is, in numbers: size, samples, channels, where row 0 stands. Knows no GStreamer.

use std::fmt;

/// How one sample (one component of one pixel) is stored. Little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SampleType {
    /// 8-bit unsigned; 255 is 1.0.
    U8,
    /// 16-bit unsigned; 65535 is 1.0.
    U16,
    /// IEEE 754 binary16.
    F16,
    /// IEEE 754 binary32.
    F32,
}

impl SampleType {
    /// All of them, narrow to wide.
    pub const ALL: [Self; 4] = [Self::U8, Self::U16, Self::F16, Self::F32];

    /// Bytes per sample.
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    /// Whether samples are floating-point, so that they can lie outside 0..=1.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32)
    }
}

impl fmt::Display for SampleType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::F16 => "f16",
            Self::F32 => "f32",
        })
    }
}

/// Order of the components of one pixel in memory. With 1 or 2 channels both orders are the same bytes
/// (R, or R and G).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelOrder {
    /// R, G, B, A.
    Rgba,
    /// B, G, R, A.
    Bgra,
}

/// What the fourth component means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fourth {
    /// It is alpha.
    Alpha,
    /// It is padding: written as maximum, never read (`RGBx`).
    Padding,
}

/// One pixel in memory, tightly packed, all components of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PixelFormat {
    /// Type of each component.
    pub sample: SampleType,
    /// Components, 1 to 4: grey; R and G; colour; colour and a fourth.
    pub channels: u8,
    /// Order of colour components.
    pub order: ChannelOrder,
    /// Meaning of the fourth component, if there is one.
    pub fourth: Fourth,
}

impl PixelFormat {
    /// Most components of a pixel.
    pub const MAX_CHANNELS: u8 = 4;

    /// `channels` components of `sample` in `order`, the fourth being alpha; `None` unless 1 to 4 channels.
    pub const fn new(sample: SampleType, channels: u8, order: ChannelOrder) -> Option<Self> {
        if channels == 0 || channels > Self::MAX_CHANNELS {
            return None;
        }
        Some(Self { sample, channels, order, fourth: Fourth::Alpha })
    }

    /// Bytes per pixel.
    pub const fn bytes(self) -> usize {
        self.sample.bytes() * self.channels as usize
    }

    /// Whether there is an alpha component.
    pub const fn has_alpha(self) -> bool {
        self.channels == 4 && matches!(self.fourth, Fourth::Alpha)
    }
}

impl fmt::Display for PixelFormat {
    /// For example `u8×4 bgra`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.channels, self.order, self.fourth) {
            (1, ..) => "grey",
            (2, ..) => "rg",
            (3, ChannelOrder::Rgba, _) => "rgb",
            (3, ChannelOrder::Bgra, _) => "bgr",
            (_, ChannelOrder::Rgba, Fourth::Alpha) => "rgba",
            (_, ChannelOrder::Bgra, Fourth::Alpha) => "bgra",
            (_, ChannelOrder::Rgba, Fourth::Padding) => "rgbx",
            (_, ChannelOrder::Bgra, Fourth::Padding) => "bgrx",
        };
        write!(f, "{}×{} {name}", self.sample, self.channels)
    }
}

/// Where row 0 in memory stands in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Row 0 is the top row: GStreamer, image files, most of the world.
    TopLeft,
    /// Row 0 is the bottom row: TouchDesigner, OpenGL textures.
    BottomLeft,
}

/// A frame as it lies in memory, rows tightly packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameDesc {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// One pixel.
    pub format: PixelFormat,
    /// Where row 0 stands.
    pub origin: Origin,
}

impl FrameDesc {
    /// Bytes per row, without padding.
    pub const fn row_bytes(&self) -> usize {
        self.width as usize * self.format.bytes()
    }

    /// Bytes of the whole frame; `None` when that does not fit a `usize`.
    pub const fn bytes(&self) -> Option<usize> {
        self.row_bytes().checked_mul(self.height as usize)
    }
}

impl fmt::Display for FrameDesc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{} {}", self.width, self.height, self.format)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_width_times_height_times_channels_times_sample() {
        let format = PixelFormat::new(SampleType::F16, 3, ChannelOrder::Rgba).unwrap();
        let desc = FrameDesc { width: 17, height: 5, format, origin: Origin::BottomLeft };
        assert_eq!(desc.row_bytes(), 17 * 6);
        assert_eq!(desc.bytes(), Some(17 * 5 * 6));
    }

    #[test]
    fn no_pixel_has_zero_or_five_channels() {
        assert_eq!(PixelFormat::new(SampleType::U8, 0, ChannelOrder::Rgba), None);
        assert_eq!(PixelFormat::new(SampleType::U8, 5, ChannelOrder::Rgba), None);
    }
}
