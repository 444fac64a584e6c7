// SPDX-License-Identifier: MPL-2.0
//! Every field of a header as it stands, with what it means and what is wrong with it, whether the whole makes sense or not.

use super::{Detail, Found, options};
use crate::field::Field;
use crate::protocol::control::description::field as said;
use crate::protocol::control::layout as control;
use crate::protocol::cudalink::layout as cudalink;
use crate::protocol::touch::layout as touch;
use crate::segment::{Segment, SegmentName};

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldLine {
    /// Its first byte in the object.
    pub offset: usize,
    /// Its name in the protocol's description.
    pub name: &'static str,
    /// What stands there.
    pub value: String,
    /// What that means, where it is more than a number.
    pub meaning: Option<String>,
    /// What is wrong with it.
    pub wrong: Option<String>,
}

/// Most bytes of a header that are looked at.
const FRONT: usize = 4096;

/// The fields of the header of `found`, in their order. None for bytes without a header, and for what cannot be opened.
pub fn fields(found: &Found) -> Vec<FieldLine> {
    let object = match &found.detail {
        Detail::Raw => return Vec::new(),
        Detail::Control(_) => SegmentName::new(&found.name).ok().map(|name| name.control()),
        Detail::Touch(_) | Detail::CudaLink(_) => Some(found.object.clone()),
    };
    let Some(segment) = object.and_then(|object| Segment::open(&object, options()).ok()) else { return Vec::new() };
    let mut bytes = vec![0; segment.len().min(FRONT)];
    if segment.read(0, &mut bytes).is_err() {
        return Vec::new();
    }
    match &found.detail {
        Detail::Raw => Vec::new(),
        Detail::Control(_) => control_fields(&bytes),
        Detail::Touch(_) => touch_fields(&bytes, segment.len()),
        Detail::CudaLink(_) => cudalink_fields(&bytes),
    }
}

/// Reads fields one after the other.
struct Lines<'a> {
    bytes: &'a [u8],
    base: usize,
    lines: Vec<FieldLine>,
}

/// A number of a field, whatever its width.
trait Number: Copy {
    fn get(field: Field<Self>, bytes: &[u8]) -> Option<Self>
    where
        Self: Sized;
    fn text(self) -> String;
    fn wide(self) -> i128;
}

macro_rules! numbers {
    ($($t:ty),*) => {$(
        impl Number for $t {
            fn get(field: Field<Self>, bytes: &[u8]) -> Option<Self> {
                field.get(bytes)
            }
            fn text(self) -> String {
                self.to_string()
            }
            fn wide(self) -> i128 {
                self as i128
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, i32, i64, f32, f64);

/// What a value means, or what is wrong with it.
type Said = Result<Option<String>, String>;

impl Lines<'_> {
    fn field<T: Number>(&mut self, name: &'static str, field: Field<T>, judge: impl Fn(i128) -> Said) {
        let offset = self.base + field.offset();
        let line = match self.bytes.get(self.base..).and_then(|bytes| T::get(field, bytes)) {
            None => {
                let wrong = Some("lies behind the end of the object".to_owned());
                FieldLine { offset, name, value: "-".to_owned(), meaning: None, wrong }
            }
            Some(value) => {
                let (meaning, wrong) = match judge(value.wide()) {
                    Ok(meaning) => (meaning, None),
                    Err(wrong) => (None, Some(wrong)),
                };
                FieldLine { offset, name, value: value.text(), meaning, wrong }
            }
        };
        self.lines.push(line);
    }
}

fn any(_: i128) -> Said {
    Ok(None)
}

fn at_least(least: i128) -> impl Fn(i128) -> Said {
    move |value| if value >= least { Ok(None) } else { Err(format!("must be at least {least}")) }
}

fn within(least: i128, most: i128) -> impl Fn(i128) -> Said {
    move |value| if (least..=most).contains(&value) { Ok(None) } else { Err(format!("must be {least} to {most}")) }
}

fn one_of(words: &'static [(i128, &'static str)]) -> impl Fn(i128) -> Said {
    move |value| match words.iter().find(|(number, _)| *number == value) {
        Some((_, word)) => Ok(Some((*word).to_owned())),
        None => {
            let known: Vec<String> = words.iter().map(|(number, word)| format!("{number} ({word})")).collect();
            Err(format!("is none of {}", known.join(", ")))
        }
    }
}

fn bits(words: &'static [(i128, &'static str)]) -> impl Fn(i128) -> Said {
    move |value| {
        let set: Vec<&str> = words.iter().filter(|(bit, _)| value & bit != 0).map(|(_, word)| *word).collect();
        let known: i128 = words.iter().map(|(bit, _)| bit).sum();
        match value & !known {
            0 => Ok((!set.is_empty()).then(|| set.join(", "))),
            unknown => Err(format!("has unknown bits {unknown:#x}")),
        }
    }
}

fn control_fields(bytes: &[u8]) -> Vec<FieldLine> {
    let mut lines = Lines { bytes, base: 0, lines: Vec::new() };
    let aligned = |value: i128| match value {
        value if value % 64 != 0 => Err("must be a multiple of 64".to_owned()),
        _ => Ok(None),
    };
    lines.field("magic", control::MAGIC, |value| match value {
        value if value == i128::from(control::MAGIC_VALUE) => Ok(Some("TDLINK".to_owned())),
        0 => Err("nobody has finished writing it".to_owned()),
        _ => Err("is not a control segment's".to_owned()),
    });
    lines.field("version", control::VERSION, within(1, i128::from(control::VERSION_VALUE)));
    lines.field("header size", control::HEADER_SIZE, within(384, 4096));
    lines.field("required features", control::REQUIRED, bits(&[(1, "lossless")]));
    lines.field("optional features", control::OPTIONAL, any);
    lines.field("segment size", control::SEGMENT_SIZE, at_least(4096));
    lines.field("clock", control::CLOCK, one_of(&[(1, "CLOCK_MONOTONIC"), (2, "performance counter")]));
    lines.field("slot table offset", control::SLOTS_OFFSET, aligned);
    lines.field("slot table stride", control::SLOTS_STRIDE, aligned);
    lines.field("slot table entries", control::SLOTS_COUNT, at_least(1));
    lines.field("rows offset", control::ROWS_OFFSET, aligned);
    lines.field("rows stride", control::ROWS_STRIDE, aligned);
    lines.field("rows", control::ROWS_COUNT, at_least(1));
    lines.field("description offset", control::DESCRIPTION_OFFSET, within(260, 4096));
    lines.field("description size", control::DESCRIPTION_SIZE, at_least(512));
    lines.field("caps offset", control::CAPS_OFFSET, within(260, 4096));
    lines.field("caps capacity", control::CAPS_CAPACITY, within(0, 4096));
    lines.field("newest", control::NEWEST, |value| {
        let (sequence, slot) = (value >> 8, value & 0xff);
        Ok(Some(if slot == 0xff { "no frame yet".to_owned() } else { format!("frame {sequence} in slot {slot}") }))
    });
    lines.field("edition", control::EDITION, |value| match value % 2 {
        0 => Ok(Some(format!("generation {}", value / 2))),
        _ => Err("is odd: the description is being written, or its writer died over it".to_owned()),
    });
    lines.field("state", control::STATE, bits(&[(1, "end of stream"), (2, "closed"), (4, "superseded")]));
    lines.field("wake", control::WAKE, any);
    lines.field("producer waiting", control::PRODUCER_WAITING, any);
    lines.field("freed", control::FREED, any);
    lines.base = control::DESCRIPTION_OFFSET.get(bytes).map_or(usize::MAX / 2, |offset| offset as usize);
    lines.field("pixels size", said::PIXELS_SIZE, at_least(1));
    lines.field("pixels device", said::PIXELS_DEVICE, any);
    lines.field("pixels inode", said::PIXELS_INODE, any);
    lines.field("slot offset", said::SLOT_OFFSET, any);
    lines.field("slot stride", said::SLOT_STRIDE, any);
    lines.field("frame size", said::FRAME_SIZE, at_least(1));
    lines.field("slots", said::SLOTS, within(1, 16));
    lines.field("stride", said::STRIDE, at_least(1));
    lines.field("width", said::WIDTH, at_least(1));
    lines.field("height", said::HEIGHT, at_least(1));
    lines.field("sample type", said::SAMPLE, one_of(&[(1, "u8"), (2, "u16"), (3, "f16"), (4, "f32")]));
    lines.field("channels", said::CHANNELS, within(1, 4));
    lines.field("channel order", said::ORDER, one_of(&[(1, "rgba"), (2, "bgra")]));
    lines.field("fourth channel", said::FOURTH, one_of(&[(1, "alpha"), (2, "padding")]));
    lines.field("origin", said::ORIGIN, one_of(&[(1, "top-left"), (2, "bottom-left")]));
    lines.field("alpha", said::ALPHA, one_of(&[(0, "unknown"), (1, "straight"), (2, "premultiplied")]));
    lines.field("framerate", said::RATE, any);
    lines.field("framerate per", said::RATE_PER, at_least(1));
    lines.field("max framerate", said::MAX_RATE, any);
    lines.field("max framerate per", said::MAX_RATE_PER, at_least(1));
    lines.field("pixel width", said::PIXEL_WIDTH, at_least(1));
    lines.field("pixel height", said::PIXEL_HEIGHT, at_least(1));
    lines.field("range", said::RANGE, one_of(&[(0, "unknown"), (1, "full"), (2, "limited")]));
    lines.field("matrix", said::MATRIX, any);
    lines.field("transfer", said::TRANSFER, any);
    lines.field("primaries", said::PRIMARIES, any);
    lines.field("caps length", said::CAPS_LEN, within(0, 3072));
    lines.field("pixels name length", said::NAME_LEN, within(1, 256));
    lines.field("pid", said::PID, any);
    lines.field("started", said::STARTED, |value| Ok(Some(format!("{} s after 1970", value / 1_000_000_000))));
    lines.lines
}

fn touch_fields(bytes: &[u8], mapped: usize) -> Vec<FieldLine> {
    let mut lines = Lines { bytes, base: 0, lines: Vec::new() };
    let side = || within(1, i128::from(touch::MAX_SIDE));
    lines.field("magic", touch::MAGIC, |value| match u32::try_from(value) {
        Ok(touch::VULKAN_MAGIC) => Ok(Some("TouchDesigner 2022 and later".to_owned())),
        Ok(touch::GL_MAGIC) => Ok(Some("TouchDesigner 2021 and earlier".to_owned())),
        Ok(touch::CHOP_MAGIC) => Err("is a Shared Mem Out CHOP's: samples, not a picture".to_owned()),
        Ok(0) => Err("no frame has been written yet".to_owned()),
        _ => Err("is not a TOP's".to_owned()),
    });
    lines.field("version", touch::VERSION, at_least(1));
    lines.field("width", touch::WIDTH, side());
    lines.field("height", touch::HEIGHT, side());
    lines.field("pixel aspect x", touch::ASPECT_X, any);
    lines.field("pixel aspect y", touch::ASPECT_Y, any);
    let inside = move |value: i128| match value {
        value if value < 40 || value > mapped as i128 => Err(format!("must be 40 to {mapped}, the object's end")),
        _ => Ok(None),
    };
    if touch::MAGIC.get(bytes) == Some(touch::GL_MAGIC) {
        lines.field("data format", touch::gl::FORMAT, any);
        lines.field("data type", touch::gl::KIND, any);
        lines.field("texture format", touch::gl::TEXTURE, any);
        lines.field("data offset", touch::gl::DATA_OFFSET, inside);
        return lines.lines;
    }
    lines.field("pixel format", touch::vulkan::FORMAT, |value| {
        let known = u32::try_from(value).ok().and_then(crate::protocol::touch::vulkan_pixel);
        known
            .map(|pixel| Some(pixel.plain().to_string()))
            .ok_or_else(|| "is a format that is not known here".to_owned())
    });
    lines.field("data size", touch::vulkan::DATA_SIZE, within(1, mapped as i128));
    lines.field("data offset", touch::vulkan::DATA_OFFSET, inside);
    if touch::VERSION.get(bytes).is_some_and(|version| version >= 2) {
        lines.field("primaries", touch::vulkan::PRIMARIES, |value| Ok((value == 2).then(|| "Rec. 709".to_owned())));
        lines.field("transfer", touch::vulkan::TRANSFER, |value| {
            Ok(["linear", "sRGB"].get(value as usize).map(|word| (*word).to_owned()))
        });
    }
    lines.lines
}

fn cudalink_fields(bytes: &[u8]) -> Vec<FieldLine> {
    let mut lines = Lines { bytes, base: 0, lines: Vec::new() };
    lines.field("magic", cudalink::MAGIC, |value| match u32::try_from(value) {
        Ok(cudalink::MAGIC_VALUE) => Ok(Some("DPIC".to_owned())),
        Ok(cudalink::OLD_MAGIC) => Err("is older than 1.0.0: update the sending side".to_owned()),
        Ok(0) => Err("nobody has finished writing it".to_owned()),
        _ => Err("is not cuda-link's".to_owned()),
    });
    lines.field("version", cudalink::VERSION, any);
    lines.field("slots", cudalink::NUM_SLOTS, within(2, i128::from(cudalink::MAX_SLOTS)));
    lines.field("write index", cudalink::WRITE_IDX, |value| Ok((value == 0).then(|| "no frame yet".to_owned())));
    let slots = cudalink::NUM_SLOTS.get(bytes).filter(|slots| (1..=cudalink::MAX_SLOTS).contains(slots));
    let Some(slots) = slots else { return lines.lines };
    lines.base = cudalink::Places::of(slots).tail();
    lines
        .field("shutdown", cudalink::SHUTDOWN, |value| Ok(Some(if value == 0 { "alive" } else { "ended" }.to_owned())));
    lines.field("width", cudalink::WIDTH, at_least(1));
    lines.field("height", cudalink::HEIGHT, at_least(1));
    lines.field("components", cudalink::NUM_COMPS, within(1, 4));
    lines.field("kind", cudalink::FORMAT_KIND, one_of(&[(0, "signed"), (1, "unsigned"), (2, "float")]));
    lines.field("bits", cudalink::BITS, one_of(&[(8, "8"), (16, "16"), (32, "32")]));
    lines.field("flags", cudalink::FLAGS, bits(&[(1, "bfloat16"), (2, "grey and alpha"), (4, "B G R A")]));
    lines.field("data size", cudalink::DATA_SIZE, at_least(1));
    lines.field("timestamp", cudalink::TIMESTAMP, at_least(0));
    lines.lines
}
