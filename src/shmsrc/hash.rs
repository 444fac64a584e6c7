// SPDX-License-Identifier: MPL-2.0
//! The hash of a frame's bytes as they stand on the wire, so that a Python program or the LOP gets the same one.

use md5::Digest;

use crate::enums::ChangeDetection;

/// A hash under way.
pub enum Hasher {
    Checksum(simd_adler32::Adler32),
    Crc32(crc32fast::Hasher),
    Md5(md5::Md5),
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Checksum(_) => "Checksum",
            Self::Crc32(_) => "Crc32",
            Self::Md5(_) => "Md5",
        })
    }
}

impl Hasher {
    /// The hasher for a choice of the property; none for `none`.
    pub fn new(choice: ChangeDetection) -> Option<Self> {
        match choice {
            ChangeDetection::None => None,
            ChangeDetection::Checksum => Some(Self::Checksum(simd_adler32::Adler32::new())),
            ChangeDetection::Crc32 => Some(Self::Crc32(crc32fast::Hasher::new())),
            ChangeDetection::Md5 => Some(Self::Md5(md5::Md5::new())),
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, wire: &[u8]) {
        match self {
            Self::Checksum(adler) => adler.write(wire),
            Self::Crc32(crc) => crc.update(wire),
            Self::Md5(md5) => md5.update(wire),
        }
    }

    /// The hash in lower-case hexadecimal digits; the next frame starts anew.
    pub fn finish(&mut self) -> String {
        match self {
            Self::Checksum(adler) => format!("{:08x}", std::mem::take(adler).finish()),
            Self::Crc32(crc) => format!("{:08x}", std::mem::take(crc).finalize()),
            Self::Md5(md5) => md5.finalize_reset().iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(choice: ChangeDetection, parts: &[&[u8]]) -> String {
        let mut hasher = Hasher::new(choice).unwrap();
        parts.iter().for_each(|part| hasher.update(part));
        hasher.finish()
    }

    #[test]
    fn hashes_are_those_of_zlib_and_hashlib() {
        // zlib.adler32(b"Wikipedia"), zlib.crc32(b"Wikipedia"), hashlib.md5(b"Wikipedia")
        for (choice, expected) in [
            (ChangeDetection::Checksum, "11e60398"),
            (ChangeDetection::Crc32, "adaac02e"),
            (ChangeDetection::Md5, "9c677286866aad38f8e9b660f5411814"),
        ] {
            assert_eq!(hash(choice, &[b"Wiki", b"", b"pedia"]), expected);
        }
    }

    #[test]
    fn the_next_frame_starts_anew() {
        for choice in [ChangeDetection::Checksum, ChangeDetection::Crc32, ChangeDetection::Md5] {
            let mut hasher = Hasher::new(choice).unwrap();
            hasher.update(b"one");
            hasher.finish();
            hasher.update(b"two");
            assert_eq!(hasher.finish(), hash(choice, &[b"two"]));
        }
    }
}
