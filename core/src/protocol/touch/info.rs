// SPDX-License-Identifier: MPL-2.0
//! The info segment: what the pixels' name ends in now, whether a receiver follows it, whether the sender has gone.

use std::fmt;

use super::error::InfoError;
use crate::field::Field;

const MAGIC_VALUE: i32 = 0x56ED_34BA;
/// The version that is written. The first has no `detach`.
pub(super) const VERSION_VALUE: i32 = 2;

/// Letters of a postfix, the 0 at its end included.
const LETTERS: usize = 32;

const MAGIC: Field<i32> = Field::at(0);
const VERSION: Field<i32> = Field::at(4);
const SUPPORTED: Field<u8> = Field::at(8);

/// Bytes of the info segment where names are UTF-16.
pub const INFO_BYTES: usize = InfoLayout::Utf16.bytes();

/// How wide a letter of the postfix is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InfoLayout {
    /// Two bytes, 76 bytes in all: Windows, and our stand-in on Linux.
    Utf16,
    /// One byte, 44 bytes in all: macOS, and Windows up to 2018.
    Bytes,
}

impl InfoLayout {
    /// First byte of the postfix.
    const fn postfix(self) -> usize {
        match self {
            Self::Utf16 => 10,
            Self::Bytes => 9,
        }
    }

    const fn letter(self) -> usize {
        match self {
            Self::Utf16 => 2,
            Self::Bytes => 1,
        }
    }

    /// Offset of `detach`.
    pub const fn detach(self) -> usize {
        self.postfix() + LETTERS * self.letter()
    }

    /// Bytes of the segment.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Utf16 => 76,
            Self::Bytes => 44,
        }
    }
}

const _: () = {
    assert!(SUPPORTED.end() == 9);
    assert!(InfoLayout::Utf16.detach() == 74 && InfoLayout::Bytes.detach() == 41);
};

/// What the name of the pixels ends in: nothing at first, other letters after each resize.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Postfix(String);

impl Postfix {
    /// Letters of a postfix that a sender chooses.
    pub const LENGTH: usize = LETTERS - 1;

    /// `None` unless the letters fit a segment.
    pub fn new(text: &str) -> Option<Self> {
        let fits = text.encode_utf16().count() <= Self::LENGTH && !text.contains('\0');
        fits.then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for Postfix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The info segment's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// 1 or more.
    pub version: i32,
    /// A receiver that reads the postfix has been here.
    pub supported: bool,
    /// What the pixels' name ends in.
    pub postfix: Postfix,
    /// The sender has gone. Never in version 1.
    pub detach: bool,
}

impl Info {
    /// What a sender begins with.
    pub fn fresh() -> Self {
        Self { version: VERSION_VALUE, supported: false, postfix: Postfix::default(), detach: false }
    }

    /// What stands in an info segment of at least [`InfoLayout::bytes`]. A peer may have written anything.
    ///
    /// # Errors
    /// Too short, no info segment, or a postfix that is no text.
    pub fn parse(bytes: &[u8], layout: InfoLayout) -> Result<Self, InfoError> {
        let short = InfoError::Short { found: bytes.len(), needed: layout.bytes() };
        let magic = MAGIC.get(bytes).ok_or(short)?;
        if magic != MAGIC_VALUE {
            return Err(InfoError::Magic { found: magic.cast_unsigned() });
        }
        let version = VERSION.get(bytes).ok_or(short)?;
        if version < 1 {
            return Err(InfoError::Version { found: version });
        }
        let supported = SUPPORTED.get(bytes).ok_or(short)? != 0;
        let letters = bytes.get(layout.postfix()..layout.detach()).ok_or(short)?;
        let units: Vec<u16> = match layout {
            InfoLayout::Utf16 => letters.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect(),
            InfoLayout::Bytes => letters.iter().map(|byte| u16::from(*byte)).collect(),
        };
        let end = units.iter().position(|unit| *unit == 0).ok_or(InfoError::Postfix)?;
        let postfix = String::from_utf16(&units[..end]).map_err(|_| InfoError::Postfix)?;
        let detach = version >= 2 && *bytes.get(layout.detach()).ok_or(short)? != 0;
        Ok(Self { version, supported, postfix: Postfix(postfix), detach })
    }

    /// The segment's bytes, all of them.
    pub fn encode(&self, layout: InfoLayout) -> Vec<u8> {
        let mut bytes = vec![0; layout.bytes()];
        bytes[..4].copy_from_slice(&MAGIC_VALUE.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.version.to_le_bytes());
        bytes[SUPPORTED.offset()] = self.supported.into();
        let letters = bytes[layout.postfix()..layout.detach()].chunks_exact_mut(layout.letter());
        for (unit, to) in self.postfix.0.encode_utf16().zip(letters) {
            to.copy_from_slice(&unit.to_le_bytes()[..layout.letter()]);
        }
        if self.version >= 2 {
            bytes[layout.detach()] = self.detach.into();
        }
        bytes
    }

    /// Offset of `supported`.
    pub(super) const fn supported_offset() -> usize {
        SUPPORTED.offset()
    }
}
