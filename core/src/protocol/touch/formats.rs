// SPDX-License-Identifier: MPL-2.0
//! Numbers of pixel formats: OpenGL's enums, Vulkan's `VkFormat`, and TouchDesigner's own above 0xF0000.

use crate::frame::SampleType::{F16, F32, U8, U16};
use crate::frame::{ChannelOrder, Fourth, PixelFormat, SampleType};
use crate::pixels::Packed;

/// One pixel behind a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pixel {
    /// Components of one type, one after the other.
    Plain(PixelFormat),
    /// Anything else.
    Packed(Packed),
}

impl Pixel {
    /// Bytes per pixel.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Plain(format) => format.bytes(),
            Self::Packed(packed) => packed.bytes(),
        }
    }

    /// What it is, or becomes in a first step.
    pub const fn plain(self) -> PixelFormat {
        match self {
            Self::Plain(format) => format,
            Self::Packed(packed) => packed.plain(),
        }
    }
}

const fn plain(sample: SampleType, channels: u8, order: ChannelOrder) -> Pixel {
    Pixel::Plain(PixelFormat { sample, channels, order, fourth: Fourth::Alpha })
}

const fn rgba(sample: SampleType, channels: u8) -> Pixel {
    plain(sample, channels, ChannelOrder::Rgba)
}

/// Every number of the Vulkan generation. Of those with the same pixel the first is written. Alpha alone is read as
/// grey.
const VULKAN: [(u32, Pixel); 25] = [
    (9, rgba(U8, 1)),
    (16, rgba(U8, 2)),
    (37, rgba(U8, 4)),
    (43, rgba(U8, 4)), // sRGB: the same bytes
    (44, plain(U8, 4, ChannelOrder::Bgra)),
    (50, plain(U8, 4, ChannelOrder::Bgra)), // sRGB: the same bytes
    (64, Pixel::Packed(Packed::Rgb10A2)),
    (70, rgba(U16, 1)),
    (76, rgba(F16, 1)),
    (77, rgba(U16, 2)),
    (83, rgba(F16, 2)),
    (91, rgba(U16, 4)),
    (97, rgba(F16, 4)),
    (100, rgba(F32, 1)),
    (103, rgba(F32, 2)),
    (109, rgba(F32, 4)),
    (122, Pixel::Packed(Packed::R11G11B10F)),
    (0xF0001, rgba(U8, 1)),
    (0xF0002, rgba(U16, 1)),
    (0xF0003, rgba(F16, 1)),
    (0xF0004, rgba(F32, 1)),
    (0xF0005, Pixel::Packed(Packed::GreyAlpha(U8))),
    (0xF0006, Pixel::Packed(Packed::GreyAlpha(U16))),
    (0xF0007, Pixel::Packed(Packed::GreyAlpha(F16))),
    (0xF0008, Pixel::Packed(Packed::GreyAlpha(F32))),
];

/// The pixel of a `pixelFormat` of the Vulkan generation.
pub fn vulkan_pixel(number: u32) -> Option<Pixel> {
    VULKAN.iter().find(|(known, _)| *known == number).map(|(_, pixel)| *pixel)
}

/// The number that is written for a pixel, if there is one.
pub(super) fn vulkan_number(pixel: Pixel) -> Option<u32> {
    VULKAN.iter().find(|(_, known)| *known == pixel).map(|(number, _)| *number)
}

/// The three numbers of the GL generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlNumbers {
    /// Which components there are, in which order.
    pub format: u32,
    /// Type of each.
    pub kind: u32,
    /// The texture that they are for. It says nothing about the bytes.
    pub texture: u32,
}

/// The pixel of a `dataFormat` and a `dataType` of the GL generation.
pub fn gl_pixel(format: u32, kind: u32) -> Option<Pixel> {
    let sample = match kind {
        0x1401 => U8,
        0x1403 => U16,
        0x1406 => F32,
        0x140B => F16,
        _ => return None,
    };
    Some(match format {
        // Red; alpha; luminance.
        0x1903 | 0x1906 | 0x1909 => rgba(sample, 1),
        0x8227 => rgba(sample, 2),
        0x1907 => rgba(sample, 3),
        0x1908 => rgba(sample, 4),
        0x80E0 => plain(sample, 3, ChannelOrder::Bgra),
        0x80E1 => plain(sample, 4, ChannelOrder::Bgra),
        0x190A => Pixel::Packed(Packed::GreyAlpha(sample)),
        0x8000 => Pixel::Packed(Packed::Abgr(sample)),
        _ => return None,
    })
}

/// The numbers that are written for a pixel, if there are any: three channels have no texture.
pub(super) fn gl_numbers(pixel: Pixel) -> Option<GlNumbers> {
    let Pixel::Plain(PixelFormat { sample, channels, order, fourth: Fourth::Alpha }) = pixel else { return None };
    let format = match (channels, order) {
        (1, ChannelOrder::Rgba) => 0x1903,
        (2, ChannelOrder::Rgba) => 0x8227,
        (4, ChannelOrder::Rgba) => 0x1908,
        (4, ChannelOrder::Bgra) if sample == U8 => 0x80E1,
        _ => return None,
    };
    // R, RG and RGBA of each type.
    let (kind, [r, rg, rgba]) = match sample {
        U8 => (0x1401, [0x8229, 0x822B, 0x8058]),
        U16 => (0x1403, [0x822A, 0x822C, 0x805B]),
        F16 => (0x140B, [0x822D, 0x822F, 0x881A]),
        F32 => (0x1406, [0x822E, 0x8230, 0x8814]),
    };
    Some(GlNumbers { format, kind, texture: [r, rg, rgba, rgba][usize::from(channels) - 1] })
}
