// SPDX-License-Identifier: MPL-2.0
//! What the frames of one generation are, and which object holds them.

use super::layout::{Header, LayoutError, MAX_CAPS_BYTES, MAX_SLOTS, OUR_DESCRIPTION_BYTES, bad};
use crate::field::Field;
use crate::frame::{ChannelOrder, Fourth, FrameDesc, Origin, PixelFormat, SampleType};
use crate::segment::Identity;

/// Most bytes of the name of the object that holds the pixels.
pub const MAX_PIXELS_NAME: usize = 256;

pub(crate) mod field {
    use crate::field::Field;

    // From the start of the description.
    pub const PIXELS_SIZE: Field<u64> = Field::at(0);
    pub const PIXELS_DEVICE: Field<u64> = Field::at(8);
    pub const PIXELS_INODE: Field<u64> = Field::at(16);
    pub const SLOT_OFFSET: Field<u64> = Field::at(24);
    pub const SLOT_STRIDE: Field<u64> = Field::at(32);
    pub const FRAME_SIZE: Field<u64> = Field::at(40);
    pub const SLOTS: Field<u32> = Field::at(48);
    pub const STRIDE: Field<u32> = Field::at(52);
    pub const WIDTH: Field<u32> = Field::at(56);
    pub const HEIGHT: Field<u32> = Field::at(60);
    pub const SAMPLE: Field<u32> = Field::at(64);
    pub const CHANNELS: Field<u32> = Field::at(68);
    pub const ORDER: Field<u32> = Field::at(72);
    pub const FOURTH: Field<u32> = Field::at(76);
    pub const ORIGIN: Field<u32> = Field::at(80);
    pub const ALPHA: Field<u32> = Field::at(84);
    pub const RATE: Field<u32> = Field::at(88);
    pub const RATE_PER: Field<u32> = Field::at(92);
    pub const MAX_RATE: Field<u32> = Field::at(96);
    pub const MAX_RATE_PER: Field<u32> = Field::at(100);
    pub const PIXEL_WIDTH: Field<u32> = Field::at(104);
    pub const PIXEL_HEIGHT: Field<u32> = Field::at(108);
    pub const RANGE: Field<u32> = Field::at(112);
    pub const MATRIX: Field<u32> = Field::at(116);
    pub const TRANSFER: Field<u32> = Field::at(120);
    pub const PRIMARIES: Field<u32> = Field::at(124);
    pub const CAPS_LEN: Field<u32> = Field::at(128);
    pub const NAME_LEN: Field<u32> = Field::at(132);
    pub const PID: Field<u32> = Field::at(136);
    pub const STARTED: Field<u64> = Field::at(144);
    pub const NAME: usize = 256;

    const _: () = {
        assert!(PIXELS_SIZE.end() == PIXELS_DEVICE.offset());
        assert!(PIXELS_DEVICE.end() == PIXELS_INODE.offset());
        assert!(PIXELS_INODE.end() == SLOT_OFFSET.offset());
        assert!(SLOT_OFFSET.end() == SLOT_STRIDE.offset());
        assert!(SLOT_STRIDE.end() == FRAME_SIZE.offset());
        assert!(FRAME_SIZE.end() == SLOTS.offset());
        assert!(SLOTS.end() == STRIDE.offset());
        assert!(STRIDE.end() == WIDTH.offset());
        assert!(WIDTH.end() == HEIGHT.offset());
        assert!(HEIGHT.end() == SAMPLE.offset());
        assert!(SAMPLE.end() == CHANNELS.offset());
        assert!(CHANNELS.end() == ORDER.offset());
        assert!(ORDER.end() == FOURTH.offset());
        assert!(FOURTH.end() == ORIGIN.offset());
        assert!(ORIGIN.end() == ALPHA.offset());
        assert!(ALPHA.end() == RATE.offset());
        assert!(RATE.end() == RATE_PER.offset());
        assert!(RATE_PER.end() == MAX_RATE.offset());
        assert!(MAX_RATE.end() == MAX_RATE_PER.offset());
        assert!(MAX_RATE_PER.end() == PIXEL_WIDTH.offset());
        assert!(PIXEL_WIDTH.end() == PIXEL_HEIGHT.offset());
        assert!(PIXEL_HEIGHT.end() == RANGE.offset());
        assert!(RANGE.end() == MATRIX.offset());
        assert!(MATRIX.end() == TRANSFER.offset());
        assert!(TRANSFER.end() == PRIMARIES.offset());
        assert!(PRIMARIES.end() == CAPS_LEN.offset());
        assert!(CAPS_LEN.end() == NAME_LEN.offset());
        assert!(NAME_LEN.end() == PID.offset());
        assert!(PID.end() <= STARTED.offset());
        assert!(STARTED.end() <= NAME);
        assert!(NAME + super::MAX_PIXELS_NAME == super::OUR_DESCRIPTION_BYTES);
    };
}

/// How colour and alpha combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlphaMode {
    /// Nobody said, or there is no alpha.
    Unknown,
    /// Colour is as it is; alpha is beside it.
    Straight,
    /// Colour is multiplied by alpha.
    Premultiplied,
}

/// A ratio, for example of frames and seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    /// The numerator. 0: unknown, or variable.
    pub num: u32,
    /// The denominator, at least 1.
    pub den: u32,
}

impl Ratio {
    /// 0/1.
    pub const NONE: Self = Self { num: 0, den: 1 };
    /// 1/1.
    pub const ONE: Self = Self { num: 1, den: 1 };
}

/// What sample values mean, in the code points of ITU-T H.273.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colorimetry {
    /// 0: unknown, 1: full (0 to maximum), 2: limited.
    pub range: u32,
    /// Matrix coefficients; 0 for RGB, 2 for unknown.
    pub matrix: u32,
    /// Transfer characteristics; 2 for unknown.
    pub transfer: u32,
    /// Colour primaries; 2 for unknown.
    pub primaries: u32,
}

impl Colorimetry {
    /// sRGB, full range.
    pub const SRGB: Self = Self { range: 1, matrix: 0, transfer: 13, primaries: 1 };
}

/// What a producer's frames are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameSpec {
    /// Size, pixels and origin as they lie in memory.
    pub desc: FrameDesc,
    /// Bytes from one row of pixels to the next; a frame may say another one for itself.
    pub stride: u32,
    /// How colour and alpha combine.
    pub alpha: AlphaMode,
    /// Frames per second. [`Ratio::NONE`]: as they come.
    pub framerate: Ratio,
    /// At most this many frames per second, if `framerate` does not say it.
    pub max_framerate: Ratio,
    /// Width of a pixel to its height.
    pub pixel_aspect: Ratio,
    /// What sample values mean.
    pub colorimetry: Colorimetry,
    /// The framework's own description, at most [`MAX_CAPS_BYTES`], or nothing.
    pub caps: String,
}

impl FrameSpec {
    /// Rows without padding, as they come, sRGB, nothing else known.
    pub fn packed(desc: FrameDesc) -> Self {
        Self {
            desc,
            stride: u32::try_from(desc.row_bytes()).unwrap_or(u32::MAX),
            alpha: AlphaMode::Unknown,
            framerate: Ratio::NONE,
            max_framerate: Ratio::NONE,
            pixel_aspect: Ratio::ONE,
            colorimetry: Colorimetry::SRGB,
            caps: String::new(),
        }
    }

    /// Bytes of a frame whose rows lie `stride` apart: the last row counts whole.
    pub fn frame_bytes(&self, stride: u32) -> Option<usize> {
        (stride as usize).checked_mul(self.desc.height as usize)
    }

    /// Refuses what no reader would take.
    pub(super) fn check(&self) -> Result<(), LayoutError> {
        let desc = &self.desc;
        if desc.width == 0 || desc.height == 0 {
            return Err(bad("width × height", u64::from(desc.width) * u64::from(desc.height), "is no pixel"));
        }
        if desc.format.channels == 0 || desc.format.channels > PixelFormat::MAX_CHANNELS {
            return Err(bad("channels", desc.format.channels, "is not 1 to 4"));
        }
        self.check_stride(self.stride)?;
        for (what, ratio) in [
            ("the framerate's denominator", self.framerate),
            ("the maximal framerate's denominator", self.max_framerate),
            ("the pixel's height", self.pixel_aspect),
        ] {
            if ratio.den == 0 {
                return Err(bad(what, 0u32, "is no denominator"));
            }
        }
        if self.pixel_aspect.num == 0 {
            return Err(bad("the pixel's width", 0u32, "is nothing"));
        }
        if self.caps.len() > MAX_CAPS_BYTES {
            return Err(bad("the caps' length", self.caps.len() as u64, "is more than 3072 bytes"));
        }
        Ok(())
    }

    /// Whether rows fit `stride` apart, and a frame of them an address.
    pub(super) fn check_stride(&self, stride: u32) -> Result<(), LayoutError> {
        if (stride as usize) < self.desc.row_bytes() {
            return Err(bad("the stride", stride, "is less than a row of pixels"));
        }
        if self.frame_bytes(stride).is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err(bad("the stride", stride, "makes frames that fit no address"));
        }
        Ok(())
    }
}

/// Where the pixels of a generation are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Name of the object.
    pub name: String,
    /// Bytes of the object.
    pub size: u64,
    /// Which object it must be. (Windows: 0 and 0; the name is enough there.)
    pub identity: Identity,
    /// Number of slots.
    pub slots: u32,
    /// First byte of slot 0.
    pub slot_offset: u64,
    /// Bytes from one slot to the next.
    pub slot_stride: u64,
    /// Bytes of a slot that a frame can take.
    pub frame_size: u64,
}

/// All that a reader is told of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// What the frames are.
    pub spec: FrameSpec,
    /// Where they are.
    pub pixels: Pixels,
    /// Process of the producer, for display.
    pub pid: u32,
    /// When it started, in ns since 1970, for display.
    pub started: u64,
}

impl Description {
    /// First byte of a slot's frame in the pixels' object.
    pub fn slot_offset(&self, slot: u32) -> usize {
        (self.pixels.slot_offset + u64::from(slot) * self.pixels.slot_stride) as usize
    }

    /// Writes description and caps into our own header.
    pub(super) fn put(&self, description: &mut [u8], caps: &mut [u8]) {
        let (spec, pixels) = (&self.spec, &self.pixels);
        let format = spec.desc.format;
        let longs = [
            (field::PIXELS_SIZE, pixels.size),
            (field::PIXELS_DEVICE, pixels.identity.device),
            (field::PIXELS_INODE, pixels.identity.inode),
            (field::SLOT_OFFSET, pixels.slot_offset),
            (field::SLOT_STRIDE, pixels.slot_stride),
            (field::FRAME_SIZE, pixels.frame_size),
            (field::STARTED, self.started),
        ];
        let sample = match format.sample {
            SampleType::U8 => 1,
            SampleType::U16 => 2,
            SampleType::F16 => 3,
            SampleType::F32 => 4,
        };
        let name = &pixels.name.as_bytes()[..pixels.name.len().min(MAX_PIXELS_NAME)];
        let text = &spec.caps.as_bytes()[..spec.caps.len().min(caps.len())];
        let words = [
            (field::SLOTS, pixels.slots),
            (field::STRIDE, spec.stride),
            (field::WIDTH, spec.desc.width),
            (field::HEIGHT, spec.desc.height),
            (field::SAMPLE, sample),
            (field::CHANNELS, format.channels.into()),
            (field::ORDER, if format.order == ChannelOrder::Rgba { 1 } else { 2 }),
            (field::FOURTH, if format.fourth == Fourth::Alpha { 1 } else { 2 }),
            (field::ORIGIN, if spec.desc.origin == Origin::TopLeft { 1 } else { 2 }),
            (
                field::ALPHA,
                match spec.alpha {
                    AlphaMode::Unknown => 0,
                    AlphaMode::Straight => 1,
                    AlphaMode::Premultiplied => 2,
                },
            ),
            (field::RATE, spec.framerate.num),
            (field::RATE_PER, spec.framerate.den),
            (field::MAX_RATE, spec.max_framerate.num),
            (field::MAX_RATE_PER, spec.max_framerate.den),
            (field::PIXEL_WIDTH, spec.pixel_aspect.num),
            (field::PIXEL_HEIGHT, spec.pixel_aspect.den),
            (field::RANGE, spec.colorimetry.range),
            (field::MATRIX, spec.colorimetry.matrix),
            (field::TRANSFER, spec.colorimetry.transfer),
            (field::PRIMARIES, spec.colorimetry.primaries),
            (field::CAPS_LEN, text.len() as u32),
            (field::NAME_LEN, name.len() as u32),
            (field::PID, self.pid),
        ];
        description.fill(0);
        caps.fill(0);
        for (at, value) in longs {
            let _ = at.put(description, value);
        }
        for (at, value) in words {
            let _ = at.put(description, value);
        }
        if let Some(room) = description.get_mut(field::NAME..field::NAME + name.len()) {
            room.copy_from_slice(name);
        }
        caps[..text.len()].copy_from_slice(text);
    }

    /// Reads the description in `bytes`, a private copy of a segment's first bytes whose header is `header`.
    ///
    /// # Errors
    /// A number that cannot be right, slots outside of the object, text that is none.
    pub fn parse(bytes: &[u8], header: &Header) -> Result<Self, LayoutError> {
        let needed = header.description + OUR_DESCRIPTION_BYTES;
        let short = LayoutError::TooShort { len: bytes.len(), needed };
        let part = bytes.get(header.description..needed).ok_or(short.clone())?;
        let word = |field: Field<u32>| field.get(part).ok_or(short.clone());
        let long = |field: Field<u64>| field.get(part).ok_or(short.clone());

        let sample = match word(field::SAMPLE)? {
            1 => SampleType::U8,
            2 => SampleType::U16,
            3 => SampleType::F16,
            4 => SampleType::F32,
            found => return Err(bad("the sample type", found, "is not 1 to 4")),
        };
        let order = match word(field::ORDER)? {
            1 => ChannelOrder::Rgba,
            2 => ChannelOrder::Bgra,
            found => return Err(bad("the channel order", found, "is not 1 or 2")),
        };
        let fourth = match word(field::FOURTH)? {
            1 => Fourth::Alpha,
            2 => Fourth::Padding,
            found => return Err(bad("the fourth channel's meaning", found, "is not 1 or 2")),
        };
        let origin = match word(field::ORIGIN)? {
            1 => Origin::TopLeft,
            2 => Origin::BottomLeft,
            found => return Err(bad("the origin", found, "is not 1 or 2")),
        };
        let alpha = match word(field::ALPHA)? {
            0 => AlphaMode::Unknown,
            1 => AlphaMode::Straight,
            2 => AlphaMode::Premultiplied,
            found => return Err(bad("the alpha mode", found, "is not 0 to 2")),
        };
        let channels = word(field::CHANNELS)?;
        let channels = u8::try_from(channels).map_err(|_| bad("the number of channels", channels, "is not 1 to 4"))?;
        let ratio = |num, den| Ok::<_, LayoutError>(Ratio { num: word(num)?, den: word(den)? });
        let spec = FrameSpec {
            desc: FrameDesc {
                width: word(field::WIDTH)?,
                height: word(field::HEIGHT)?,
                format: PixelFormat { sample, channels, order, fourth },
                origin,
            },
            stride: word(field::STRIDE)?,
            alpha,
            framerate: ratio(field::RATE, field::RATE_PER)?,
            max_framerate: ratio(field::MAX_RATE, field::MAX_RATE_PER)?,
            pixel_aspect: ratio(field::PIXEL_WIDTH, field::PIXEL_HEIGHT)?,
            colorimetry: Colorimetry {
                range: word(field::RANGE)?,
                matrix: word(field::MATRIX)?,
                transfer: word(field::TRANSFER)?,
                primaries: word(field::PRIMARIES)?,
            },
            caps: text(bytes, header.caps.0, word(field::CAPS_LEN)?, header.caps.1, "the caps' length")?,
        };
        spec.check()?;

        let pixels = Pixels {
            name: text(part, field::NAME, word(field::NAME_LEN)?, MAX_PIXELS_NAME, "the length of the pixels' name")?,
            size: long(field::PIXELS_SIZE)?,
            identity: Identity { device: long(field::PIXELS_DEVICE)?, inode: long(field::PIXELS_INODE)? },
            slots: word(field::SLOTS)?,
            slot_offset: long(field::SLOT_OFFSET)?,
            slot_stride: long(field::SLOT_STRIDE)?,
            frame_size: long(field::FRAME_SIZE)?,
        };
        pixels.check(header.tables.slots.min(MAX_SLOTS))?;
        let bytes = spec.frame_bytes(spec.stride).unwrap_or(usize::MAX) as u64;
        if bytes > pixels.frame_size {
            return Err(bad("the size of a frame", pixels.frame_size, "is less than its rows take"));
        }
        Ok(Self { spec, pixels, pid: word(field::PID)?, started: long(field::STARTED)? })
    }
}

impl Pixels {
    /// Nowhere.
    pub(super) fn none() -> Self {
        let identity = Identity { device: 0, inode: 0 };
        Self { name: String::new(), size: 0, identity, slots: 0, slot_offset: 0, slot_stride: 0, frame_size: 0 }
    }

    /// Whether all slots lie within the object.
    fn check(&self, most: u32) -> Result<(), LayoutError> {
        if self.slots == 0 || self.slots > most {
            return Err(bad("the number of slots", self.slots, "does not fit the slot table"));
        }
        if self.size > isize::MAX as u64 {
            return Err(bad("the size of the pixels' object", self.size, "fits no address"));
        }
        if self.slots > 1 && self.slot_stride < self.frame_size {
            return Err(bad("the distance of slots", self.slot_stride, "is less than a frame"));
        }
        let last = u64::from(self.slots - 1).checked_mul(self.slot_stride);
        let end = last.and_then(|last| last.checked_add(self.slot_offset)?.checked_add(self.frame_size));
        if end.is_none_or(|end| end > self.size) {
            return Err(bad("the size of the pixels' object", self.size, "is less than its slots take"));
        }
        Ok(())
    }
}

fn text(bytes: &[u8], start: usize, len: u32, most: usize, what: &'static str) -> Result<String, LayoutError> {
    let part = (len as usize <= most).then(|| bytes.get(start..start + len as usize)).flatten();
    let part = part.ok_or_else(|| bad(what, len, "is more than there is room for"))?;
    let text = std::str::from_utf8(part).map_err(|_| bad(what, len, "covers bytes that are no UTF-8"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::control::layout::{
        HEADER_BYTES, MAGIC, MAGIC_VALUE, OUR_CAPS_OFFSET, OUR_DESCRIPTION_OFFSET, SEGMENT_BYTES,
    };

    fn description() -> Description {
        let format = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Bgra).unwrap();
        let desc = FrameDesc { width: 1920, height: 1080, format, origin: Origin::TopLeft };
        let mut spec = FrameSpec::packed(desc);
        spec.framerate = Ratio { num: 60000, den: 1001 };
        spec.alpha = AlphaMode::Premultiplied;
        spec.caps = "video/x-raw, format=(string)BGRA".to_owned();
        let pixels = Pixels {
            name: "cam1.tdlink.7".to_owned(),
            size: 4 * 8_294_400,
            identity: Identity { device: 26, inode: 4242 },
            slots: 4,
            slot_offset: 0,
            slot_stride: 8_294_400,
            frame_size: 8_294_400,
        };
        Description { spec, pixels, pid: 77, started: 1_700_000_000_000_000_000 }
    }

    fn encoded(description: &Description) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        Header::put(&mut bytes, false);
        MAGIC.put(&mut bytes, MAGIC_VALUE).unwrap();
        let (front, caps) = bytes.split_at_mut(OUR_CAPS_OFFSET);
        description.put(&mut front[OUR_DESCRIPTION_OFFSET..][..OUR_DESCRIPTION_BYTES], caps);
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Description, LayoutError> {
        Description::parse(bytes, &Header::parse(bytes, SEGMENT_BYTES)?)
    }

    #[test]
    fn a_description_says_what_was_put_into_it() {
        let there = description();
        assert_eq!(parse(&encoded(&there)), Ok(there));
    }

    #[test]
    fn the_bytes_of_a_description_are_these() {
        #[rustfmt::skip]
        let golden: [u8; 152] = [
            0x00, 0x40, 0xfa, 0x01, 0, 0, 0, 0, // 33,177,600 bytes
            26, 0, 0, 0, 0, 0, 0, 0, 0x92, 0x10, 0, 0, 0, 0, 0, 0, // device, inode
            0, 0, 0, 0, 0, 0, 0, 0, 0x00, 0x90, 0x7e, 0, 0, 0, 0, 0, // first slot, distance
            0x00, 0x90, 0x7e, 0, 0, 0, 0, 0, // 8,294,400 bytes of a frame
            4, 0, 0, 0, 0x00, 0x1e, 0, 0, // slots, stride
            0x80, 0x07, 0, 0, 0x38, 0x04, 0, 0, // width, height
            1, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, // u8, 4 channels, bgra, alpha
            1, 0, 0, 0, 2, 0, 0, 0, // top-left, premultiplied
            0x60, 0xea, 0, 0, 0xe9, 0x03, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, // 60000/1001, no maximum
            1, 0, 0, 0, 1, 0, 0, 0, // square pixels
            1, 0, 0, 0, 0, 0, 0, 0, 13, 0, 0, 0, 1, 0, 0, 0, // sRGB
            32, 0, 0, 0, 13, 0, 0, 0, // lengths of caps and name
            77, 0, 0, 0, 0, 0, 0, 0, // process
            0x00, 0x00, 0x2a, 0x36, 0xfe, 0x9c, 0x97, 0x17, // its start
        ];
        let bytes = encoded(&description());
        assert_eq!(bytes[OUR_DESCRIPTION_OFFSET..][..152], golden);
        assert_eq!(&bytes[OUR_DESCRIPTION_OFFSET + 256..][..13], b"cam1.tdlink.7");
        assert_eq!(&bytes[OUR_CAPS_OFFSET..][..32], b"video/x-raw, format=(string)BGRA");
    }

    #[test]
    fn slots_that_leave_the_object_are_refused() {
        let change = |change: fn(&mut Pixels)| {
            let mut there = description();
            change(&mut there.pixels);
            parse(&encoded(&there))
        };
        assert!(change(|pixels| pixels.size -= 1).is_err());
        assert!(change(|pixels| pixels.slot_offset = 1).is_err());
        assert!(change(|pixels| pixels.slot_stride -= 1).is_err());
        assert!(change(|pixels| pixels.slots = 17).is_err());
        assert!(change(|pixels| pixels.slots = 0).is_err());
        assert!(change(|pixels| pixels.slot_stride = u64::MAX / 2).is_err());
        assert!(change(|pixels| pixels.frame_size -= 1).is_err());
        assert!(change(|pixels| pixels.size = u64::MAX).is_err());
    }

    #[test]
    fn frames_that_cannot_be_are_refused() {
        let change = |change: fn(&mut FrameSpec)| {
            let mut there = description();
            change(&mut there.spec);
            parse(&encoded(&there))
        };
        assert!(change(|spec| spec.desc.width = 0).is_err());
        assert!(change(|spec| spec.desc.height = 0).is_err());
        assert!(change(|spec| spec.desc.format.channels = 5).is_err());
        assert!(change(|spec| spec.stride -= 1).is_err());
        assert!(change(|spec| spec.framerate.den = 0).is_err());
        assert!(change(|spec| spec.pixel_aspect.num = 0).is_err());
        assert!(change(|spec| spec.desc.height = u32::MAX).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 4 } else { 512 },
            // Miri has no files.
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn whatever_the_bytes_are_slots_lie_within_the_object(
            changes in prop::collection::vec((0usize..1400, any::<u8>()), 0..12),
        ) {
            let mut bytes = encoded(&description());
            for (at, value) in changes {
                bytes[at] = value;
            }
            if let Ok(found) = parse(&bytes) {
                let pixels = &found.pixels;
                let end = found.slot_offset(pixels.slots - 1) as u64 + pixels.frame_size;
                prop_assert!(end <= pixels.size);
                prop_assert!(found.spec.frame_bytes(found.spec.stride).unwrap() as u64 <= pixels.frame_size);
            }
        }
    }
}
