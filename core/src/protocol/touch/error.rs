// SPDX-License-Identifier: MPL-2.0
//! What can go wrong between two TOPs.

use thiserror::Error;

use crate::frame::PixelFormat;
use crate::pixels::RowError;
use crate::protocol::copy::CopyError;
use crate::protocol::raw::{BufferError, LayoutError};
use crate::segment::{AccessError, NameError, SegmentError};

/// Why bytes are no header, or a picture has none.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The sender has made the segment and written no frame yet.
    #[error("no frame has been written yet")]
    NotWritten,
    /// Samples of a Shared Mem Out CHOP.
    #[error(
        "it holds samples of a Shared Mem Out CHOP, not a picture; right would be the name of a Shared Mem Out TOP"
    )]
    Chop,
    /// Something else.
    #[error(
        "it begins with {found:#010x}, which is no TOP's header (0xd95ef835 since TouchDesigner 2022, 0xe95df673 before)"
    )]
    Magic {
        /// The first four bytes.
        found: u32,
    },
    /// A version that never was.
    #[error("the header's version is {found}, at least 1 is expected")]
    Version {
        /// What it says.
        found: i32,
    },
    /// Sides that no picture has.
    #[error("the picture is {width}×{height}; each side must be 1 to 32768")]
    Sides {
        /// Pixels per row.
        width: i32,
        /// Rows.
        height: i32,
    },
    /// A format that nobody has told us.
    #[error(
        "the pixel format is {number} (VkFormat, or TouchDesigner's own), which is not known here; another Pixel Format of the sending TOP, such as 8-bit fixed (RGBA), would do"
    )]
    Format {
        /// What the header says.
        number: u32,
    },
    /// The same of the GL generation.
    #[error(
        "the data format is {format:#06x} of type {kind:#06x} (OpenGL), which is not known here; another Pixel Format of the sending TOP, such as 8-bit fixed (RGBA), would do"
    )]
    GlFormat {
        /// Which components.
        format: u32,
        /// Their type.
        kind: u32,
    },
    /// Pixels that would lie within the header.
    #[error("the pixels begin at {found}, but the header has {least} bytes")]
    DataOffset {
        /// What the header says.
        found: i32,
        /// Bytes of the shortest header.
        least: usize,
    },
    /// Fewer bytes than the picture has.
    #[error("the header says {said} bytes of pixels, the picture has {needed}")]
    DataSize {
        /// What the header says.
        said: i64,
        /// What width, height and format come to.
        needed: usize,
    },
    /// More bytes than there are.
    #[error("header and picture need {needed} bytes, the segment has {mapped}")]
    TooSmall {
        /// What the header comes to.
        needed: usize,
        /// What is mapped.
        mapped: usize,
    },
    /// No room for a header.
    #[error("the segment has {mapped} bytes, which is too few for a header")]
    Short {
        /// What is mapped.
        mapped: usize,
    },
    /// The generation cannot say these pixels.
    #[error(
        "Shared Mem TOPs have no number for {pixel}; right would be 1, 2 or 4 channels, and B, G, R, A for u8 only"
    )]
    NoNumber {
        /// The pixels.
        pixel: PixelFormat,
    },
}

/// Why bytes are no info segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InfoError {
    /// Too few.
    #[error("the info segment has {found} bytes, {needed} are expected")]
    Short {
        /// Bytes there are.
        found: usize,
        /// Bytes it takes.
        needed: usize,
    },
    /// Not written yet, or something else.
    #[error("the info segment begins with {found:#010x}, not with 0x56ed34ba")]
    Magic {
        /// The first four bytes.
        found: u32,
    },
    /// A version that never was.
    #[error("the info segment's version is {found}, at least 1 is expected")]
    Version {
        /// What it says.
        found: i32,
    },
    /// It does not end, or is no UTF-16.
    #[error("the info segment's postfix is no text")]
    Postfix,
}

/// Why a frame could not be offered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// No name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The picture cannot be said.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The picture cannot be described.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The protocol counts bytes in 32 bits.
    #[error("the picture has {bytes} bytes with its header; Shared Mem TOPs take less than 4 GiB")]
    TooLarge {
        /// Bytes of both.
        bytes: usize,
    },
    /// Somebody has objects of that name open: a sender, or a receiver of one that died.
    #[error("another sender has the name {name:?}, or a receiver still holds what a dead one left ({object} exists)")]
    NameTaken {
        /// What a user types.
        name: String,
        /// The object that stands in the way.
        object: String,
    },
    /// The other sender took it from us.
    #[error("another sender has taken the name {name:?}")]
    Taken {
        /// What a user types.
        name: String,
    },
    /// A receiver that cannot follow a new name still holds the old size.
    #[error("{object} cannot be made anew in another size: a receiver that does not follow resizes holds it open")]
    Resize {
        /// The object that stands in the way.
        object: String,
    },
    /// Somebody has the info segment's mutex.
    #[error("the mutex {mutex:?} has been locked by another program for {millis} ms")]
    Locked {
        /// Its name.
        mutex: String,
        /// How long it was waited for.
        millis: u128,
    },
    /// A wait was ended from outside.
    #[error("the wait for the name was ended")]
    Interrupted,
    /// What stands under the info segment's name.
    #[error("{name}: {source}")]
    Info {
        /// The object.
        name: String,
        /// What is wrong with it.
        source: InfoError,
    },
    /// A name, or the memory under it.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The frame's own memory is too small.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The segment's bytes cannot be written.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A row does not convert.
    #[error(transparent)]
    Row(#[from] RowError),
}

impl From<CopyError> for ProduceError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Buffer(error) => Self::Buffer(error),
            CopyError::Access(error) => Self::Access(error),
            CopyError::Row(error) => Self::Row(error),
        }
    }
}

/// Why there is no frame.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// No name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is no sender yet, or it has not come so far that it can be read.
    #[error("{why}")]
    NotYet {
        /// What is missing.
        why: String,
    },
    /// What it sends is no picture that can be read.
    #[error("{name}: {source}")]
    Header {
        /// The object.
        name: String,
        /// What is wrong with it.
        source: HeaderError,
    },
    /// The picture cannot be described.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A name, or the memory under it.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The segment's bytes cannot be read.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The memory for the frame is too small.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// A row does not convert.
    #[error(transparent)]
    Row(#[from] RowError),
}

impl From<CopyError> for ConsumeError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Buffer(error) => Self::Buffer(error),
            CopyError::Access(error) => Self::Access(error),
            CopyError::Row(error) => Self::Row(error),
        }
    }
}
