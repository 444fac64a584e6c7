// SPDX-License-Identifier: MPL-2.0
//! The header in front of the pixels, both generations of it. See `docs/protocol/touch.md`.

use super::error::HeaderError;
use super::formats::{self, GlNumbers, Pixel};
use crate::field::Field;

/// Bytes of the longest header.
pub const HEADER_BYTES: usize = 56;
/// Longest side that is believed, in pixels.
pub const MAX_SIDE: i32 = 32_768;

/// First bytes `73 F6 5D E9`.
pub(crate) const GL_MAGIC: u32 = 0xE95D_F673;
/// First bytes `35 F8 5E D9`.
pub(crate) const VULKAN_MAGIC: u32 = 0xD95E_F835;
/// First bytes `CF 54 ED 12`: samples of a Shared Mem Out CHOP.
pub(crate) const CHOP_MAGIC: u32 = 0x12ED_54CF;

pub(crate) const MAGIC: Field<u32> = Field::at(0);
pub(crate) const VERSION: Field<i32> = Field::at(4);
pub(crate) const WIDTH: Field<i32> = Field::at(8);
pub(crate) const HEIGHT: Field<i32> = Field::at(12);
pub(crate) const ASPECT_X: Field<f32> = Field::at(16);
pub(crate) const ASPECT_Y: Field<f32> = Field::at(20);

pub(crate) mod gl {
    use crate::field::Field;

    pub(crate) const VERSION: i32 = 2;
    pub(crate) const FORMAT: Field<u32> = Field::at(24);
    pub(crate) const KIND: Field<u32> = Field::at(28);
    pub(crate) const TEXTURE: Field<u32> = Field::at(32);
    pub(crate) const DATA_OFFSET: Field<i32> = Field::at(36);
    pub(crate) const BYTES: usize = DATA_OFFSET.end();
}

pub(crate) mod vulkan {
    use crate::field::Field;

    pub(crate) const FORMAT: Field<u32> = Field::at(24);
    pub(crate) const DATA_SIZE: Field<i64> = Field::at(32);
    pub(crate) const DATA_OFFSET: Field<i32> = Field::at(40);
    /// From version 2 on.
    pub(crate) const PRIMARIES: Field<u32> = Field::at(44);
    /// From version 2 on.
    pub(crate) const TRANSFER: Field<u32> = Field::at(48);
    pub(crate) const BYTES_V1: usize = 48;
    pub(crate) const BYTES_V2: usize = 56;
    /// Where pixels may begin at the earliest for both colour fields to be there.
    pub(crate) const COLOURED: usize = TRANSFER.end();
}

const _: () = {
    assert!(gl::BYTES == 40);
    assert!(vulkan::PRIMARIES.end() == vulkan::TRANSFER.offset());
    assert!(vulkan::DATA_OFFSET.end() == vulkan::PRIMARIES.offset());
    assert!(vulkan::TRANSFER.end() <= vulkan::BYTES_V2 && vulkan::BYTES_V2 == HEADER_BYTES);
};

/// Which header is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderKind {
    /// Vulkan, version 1, 48 bytes: TouchDesigner 2022 and later.
    #[default]
    VulkanV1,
    /// Vulkan, version 2, 56 bytes, with the colour space.
    VulkanV2,
    /// GL, version 2, 40 bytes: TouchDesigner 2021 and earlier.
    Gl,
}

/// Which TouchDesigner a header is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// 2021 and earlier.
    Gl,
    /// 2022 and later.
    Vulkan,
}

/// What version 2 of the Vulkan generation says of the colours. Other numbers exist, and are not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    /// 2: Rec. 709, which are sRGB's too.
    pub primaries: u32,
    /// 0: linear; 1: sRGB.
    pub transfer: u32,
}

impl Colour {
    /// Number of Rec. 709's primaries.
    pub const REC709: u32 = 2;
    /// Number of linear light.
    pub const LINEAR: u32 = 0;
    /// Number of sRGB's transfer function.
    pub const SRGB_TRANSFER: u32 = 1;
    /// sRGB.
    pub const SRGB: Self = Self { primaries: Self::REC709, transfer: Self::SRGB_TRANSFER };
}

/// A header whose numbers can be used without a further look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Header {
    /// Whose it is.
    pub generation: Generation,
    /// 1 or more.
    pub version: i32,
    /// Pixels per row, 1 to [`MAX_SIDE`].
    pub width: u32,
    /// Rows, 1 to [`MAX_SIDE`].
    pub height: u32,
    /// Width and height of a pixel. A peer may have written anything.
    pub aspect: [f32; 2],
    /// One pixel.
    pub pixel: Pixel,
    /// What the header says of colours.
    pub colour: Option<Colour>,
    /// First byte of the pixels. Rows have no padding.
    pub data_offset: usize,
    /// Bytes of the pixels.
    pub data_bytes: usize,
}

impl Header {
    /// The header that is written for `width` × `height` pixels. `colour` is for [`HeaderKind::VulkanV2`].
    ///
    /// # Errors
    /// No pixels, too many, or pixels that the generation has no number for.
    pub fn new(
        kind: HeaderKind,
        (width, height): (u32, u32),
        pixel: Pixel,
        aspect: [f32; 2],
        colour: Colour,
    ) -> Result<Self, HeaderError> {
        let side = |side: u32| i32::try_from(side).unwrap_or(i32::MAX);
        let (width, height) = sides(side(width), side(height))?;
        let (generation, version, data_offset) = match kind {
            HeaderKind::Gl => (Generation::Gl, gl::VERSION, gl::BYTES),
            HeaderKind::VulkanV1 => (Generation::Vulkan, 1, vulkan::BYTES_V1),
            HeaderKind::VulkanV2 => (Generation::Vulkan, 2, vulkan::BYTES_V2),
        };
        let colour = (kind == HeaderKind::VulkanV2).then_some(colour);
        let data_bytes = payload(width, height, pixel);
        let header = Self { generation, version, width, height, aspect, pixel, colour, data_offset, data_bytes };
        header.numbers().ok_or(HeaderError::NoNumber { pixel: pixel.plain() })?;
        Ok(header)
    }

    /// Bytes from the header's first to the pixels' last.
    pub fn total_bytes(&self) -> usize {
        self.data_offset + self.data_bytes
    }

    /// What stands in front of the pixels of a segment of `mapped` bytes, of which `front` is the beginning. Whatever a
    /// peer has written there: either an error, or a header whose pixels all lie within the segment.
    ///
    /// # Errors
    /// Nothing written yet, a CHOP's data, no header at all, or one with a number that cannot be.
    pub fn parse(front: &[u8], mapped: usize) -> Result<Self, HeaderError> {
        let short = HeaderError::Short { mapped };
        let magic = MAGIC.get(front).ok_or(short)?;
        let generation = match magic {
            GL_MAGIC => Generation::Gl,
            VULKAN_MAGIC => Generation::Vulkan,
            CHOP_MAGIC => return Err(HeaderError::Chop),
            0 => return Err(HeaderError::NotWritten),
            found => return Err(HeaderError::Magic { found }),
        };
        let version = VERSION.get(front).ok_or(short)?;
        if version < 1 {
            return Err(HeaderError::Version { found: version });
        }
        let (width, height) = (WIDTH.get(front).ok_or(short)?, HEIGHT.get(front).ok_or(short)?);
        let (width, height) = sides(width, height)?;
        let aspect = [ASPECT_X.get(front).ok_or(short)?, ASPECT_Y.get(front).ok_or(short)?];
        let (pixel, offset, least) = match generation {
            Generation::Gl => {
                let (format, kind) = (gl::FORMAT.get(front).ok_or(short)?, gl::KIND.get(front).ok_or(short)?);
                let pixel = formats::gl_pixel(format, kind).ok_or(HeaderError::GlFormat { format, kind })?;
                (pixel, gl::DATA_OFFSET.get(front).ok_or(short)?, gl::BYTES)
            }
            Generation::Vulkan => {
                let number = vulkan::FORMAT.get(front).ok_or(short)?;
                let pixel = formats::vulkan_pixel(number).ok_or(HeaderError::Format { number })?;
                (pixel, vulkan::DATA_OFFSET.get(front).ok_or(short)?, vulkan::BYTES_V1)
            }
        };
        let data_offset = usize::try_from(offset).ok().filter(|offset| *offset >= least);
        let data_offset = data_offset.ok_or(HeaderError::DataOffset { found: offset, least })?;
        let data_bytes = payload(width, height, pixel);
        if generation == Generation::Vulkan {
            let said = vulkan::DATA_SIZE.get(front).ok_or(short)?;
            if usize::try_from(said).is_ok_and(|said| said >= data_bytes) {
                // More may be reserved than is used.
            } else {
                return Err(HeaderError::DataSize { said, needed: data_bytes });
            }
        }
        // Neither sum overflows: an offset has 31 bits, and a picture of the longest sides 34.
        let needed = data_offset + data_bytes;
        if needed > mapped {
            return Err(HeaderError::TooSmall { needed, mapped });
        }
        let coloured = generation == Generation::Vulkan && version >= 2 && data_offset >= vulkan::COLOURED;
        let colour = if coloured {
            let primaries = vulkan::PRIMARIES.get(front).ok_or(short)?;
            Some(Colour { primaries, transfer: vulkan::TRANSFER.get(front).ok_or(short)? })
        } else {
            None
        };
        Ok(Self { generation, version, width, height, aspect, pixel, colour, data_offset, data_bytes })
    }

    /// The header's bytes; `None` where [`Header::new`] would not have made it.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let numbers = self.numbers()?;
        let len = match (self.generation, self.colour) {
            (Generation::Gl, _) => gl::BYTES,
            (Generation::Vulkan, None) => vulkan::BYTES_V1,
            (Generation::Vulkan, Some(_)) => vulkan::BYTES_V2,
        };
        // A peer's pixels may begin within the padding at the end, or gigabytes behind it.
        let mut bytes = vec![0; len.min(self.data_offset)];
        VERSION.put(&mut bytes, self.version)?;
        WIDTH.put(&mut bytes, i32::try_from(self.width).ok()?)?;
        HEIGHT.put(&mut bytes, i32::try_from(self.height).ok()?)?;
        ASPECT_X.put(&mut bytes, self.aspect[0])?;
        ASPECT_Y.put(&mut bytes, self.aspect[1])?;
        let offset = i32::try_from(self.data_offset).ok()?;
        match numbers {
            Numbers::Gl(GlNumbers { format, kind, texture }) => {
                MAGIC.put(&mut bytes, GL_MAGIC)?;
                gl::FORMAT.put(&mut bytes, format)?;
                gl::KIND.put(&mut bytes, kind)?;
                gl::TEXTURE.put(&mut bytes, texture)?;
                gl::DATA_OFFSET.put(&mut bytes, offset)?;
            }
            Numbers::Vulkan(number) => {
                MAGIC.put(&mut bytes, VULKAN_MAGIC)?;
                vulkan::FORMAT.put(&mut bytes, number)?;
                vulkan::DATA_SIZE.put(&mut bytes, i64::try_from(self.data_bytes).ok()?)?;
                vulkan::DATA_OFFSET.put(&mut bytes, offset)?;
                if let Some(colour) = self.colour {
                    vulkan::PRIMARIES.put(&mut bytes, colour.primaries)?;
                    vulkan::TRANSFER.put(&mut bytes, colour.transfer)?;
                }
            }
        }
        Some(bytes)
    }

    fn numbers(&self) -> Option<Numbers> {
        match self.generation {
            Generation::Gl => formats::gl_numbers(self.pixel).map(Numbers::Gl),
            Generation::Vulkan => formats::vulkan_number(self.pixel).map(Numbers::Vulkan),
        }
    }
}

enum Numbers {
    Gl(GlNumbers),
    Vulkan(u32),
}

/// Both sides, if they are sides.
fn sides(width: i32, height: i32) -> Result<(u32, u32), HeaderError> {
    let side = |side: i32| (1..=MAX_SIDE).contains(&side).then_some(side.unsigned_abs());
    side(width).zip(side(height)).ok_or(HeaderError::Sides { width, height })
}

/// Bytes of a picture whose sides were looked at.
fn payload(width: u32, height: u32, pixel: Pixel) -> usize {
    width as usize * height as usize * pixel.bytes()
}
