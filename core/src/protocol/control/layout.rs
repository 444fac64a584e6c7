// SPDX-License-Identifier: MPL-2.0
//! What stands where in a control segment. `docs/protocol/control.md` says it for readers in other languages.
//!
//! The bytes of the peer are copied out once, and [`Header::parse`] and [`Description::parse`] are the only places that
//! judge them: whoever has one of the two needs no further check.
//!
//! [`Description::parse`]: super::description::Description::parse

use thiserror::Error;

use crate::field::Field;
use crate::segment::MAX_ROWS;

/// Bytes of a control segment, fixed so that a restarted producer finds room in its predecessor's.
pub const SEGMENT_BYTES: usize = 16384;
/// Bytes of header, description and caps together: what a reader takes a snapshot of.
pub const HEADER_BYTES: usize = 4096;

/// `TDLINK` and two bytes that no text has, little-endian. Written last.
pub const MAGIC_VALUE: u64 = u64::from_le_bytes(*b"TDLINK\x1a\0");
/// Version of the protocol. Readers refuse another one.
pub const VERSION_VALUE: u32 = 1;

/// Required feature: frames are taken in order and none is left out; every row says which it has taken.
pub const REQUIRED_LOSSLESS: u64 = 1;
/// Required features that this program knows.
pub const KNOWN_REQUIRED: u64 = REQUIRED_LOSSLESS;

/// See [`MAGIC_VALUE`].
pub const MAGIC: Field<u64> = Field::at(0);
/// See [`VERSION_VALUE`].
pub const VERSION: Field<u32> = Field::at(8);
/// Bytes from the start to the end of description and caps.
pub const HEADER_SIZE: Field<u32> = Field::at(12);
/// Who does not know one of these bits must not read on.
pub const REQUIRED: Field<u64> = Field::at(16);
/// Who does not know one of these bits may ignore it.
pub const OPTIONAL: Field<u64> = Field::at(24);
/// Bytes of the whole segment.
pub const SEGMENT_SIZE: Field<u32> = Field::at(32);
/// The clock of all times: 1 is `CLOCK_MONOTONIC`, 2 the performance counter of Windows; both in nanoseconds.
pub const CLOCK: Field<u32> = Field::at(36);
/// First byte of the slot table.
pub const SLOTS_OFFSET: Field<u32> = Field::at(40);
/// Bytes from one slot's entry to the next one's.
pub const SLOTS_STRIDE: Field<u32> = Field::at(44);
/// Entries of the slot table; a ring may use fewer.
pub const SLOTS_COUNT: Field<u32> = Field::at(48);
/// First byte of the consumers' rows.
pub const ROWS_OFFSET: Field<u32> = Field::at(52);
/// Bytes from one row to the next.
pub const ROWS_STRIDE: Field<u32> = Field::at(56);
/// Number of rows.
pub const ROWS_COUNT: Field<u32> = Field::at(60);
/// First byte of the description.
pub const DESCRIPTION_OFFSET: Field<u32> = Field::at(64);
/// Bytes of the description.
pub const DESCRIPTION_SIZE: Field<u32> = Field::at(68);
/// First byte of the caps text.
pub const CAPS_OFFSET: Field<u32> = Field::at(72);
/// Most bytes of the caps text.
pub const CAPS_CAPACITY: Field<u32> = Field::at(76);

/// Sequence number and slot of the newest frame; see `ring`. The producer's.
pub const NEWEST: Field<u64> = Field::at(128);
/// Twice the generation, and odd while the description is being written. The producer's.
pub const EDITION: Field<u64> = Field::at(136);
/// Bits of `STATE_…`. The producer's, but that whoever takes its name may set [`STATE_SUPERSEDED`].
pub const STATE: Field<u32> = Field::at(144);
/// Changes with every frame and state: what consumers sleep over. The producer's.
pub const WAKE: Field<u32> = Field::at(192);
/// Not 0 while the producer sleeps over [`FREED`]; see [`WAITING_SEEN`]. The producer's.
pub const PRODUCER_WAITING: Field<u32> = Field::at(196);
/// Changes when a consumer gives a slot free while the producer waits. Any consumer's: only that it changes counts.
pub const FREED: Field<u32> = Field::at(256);

/// No frame will follow.
pub const STATE_EOS: u32 = 1;
/// The producer has gone, in order.
pub const STATE_CLOSED: u32 = 2;
/// Another segment stands, or is about to stand, under the name.
pub const STATE_SUPERSEDED: u32 = 4;

/// Our own tables.
pub const OUR_DESCRIPTION_OFFSET: usize = 384;
/// Bytes of the description that this program writes.
pub const OUR_DESCRIPTION_BYTES: usize = 512;
/// Where our caps text starts.
pub const OUR_CAPS_OFFSET: usize = 1024;
/// Most bytes of a caps text of ours.
pub const MAX_CAPS_BYTES: usize = 3072;
/// Most slots of a ring.
pub const MAX_SLOTS: u32 = 16;
/// Rows of our own table.
pub const ROWS: u32 = MAX_ROWS;

/// An entry of the slot table, from its own start: sequence number and [`SEQ_WRITING`]. The producer's.
pub const SLOT_SEQUENCE: Field<u64> = Field::at(0);
/// Presentation time in ns: running time + base time of the producer's pipeline. `u64::MAX`: none.
pub const SLOT_PTS: Field<u64> = Field::at(8);
/// Duration in ns. `u64::MAX`: none.
pub const SLOT_DURATION: Field<u64> = Field::at(16);
/// When the frame was published, in ns of the clock.
pub const SLOT_PUBLISHED: Field<u64> = Field::at(24);
/// Bytes of the frame.
pub const SLOT_PAYLOAD: Field<u64> = Field::at(32);
/// Bytes from one row of pixels to the next.
pub const SLOT_STRIDE: Field<u32> = Field::at(40);
/// Bits of `FLAG_…`.
pub const SLOT_FLAGS: Field<u32> = Field::at(44);
/// The producer's own frame number. `u64::MAX`: none.
pub const SLOT_OFFSET: Field<u64> = Field::at(48);
/// Bytes of an entry.
pub const SLOT_BYTES: usize = 64;

/// The frame is being written, or was given up: its bytes are nobody's.
pub const SEQ_WRITING: u64 = 1 << 63;

/// The pipeline's clock is the clock of this segment, so that PTS and publication time compare.
pub const FLAG_PTS_ON_CLOCK: u32 = 1;
/// Something was lost before this frame.
pub const FLAG_DISCONT: u32 = 2;
/// The frame repeats the one before.
pub const FLAG_GAP: u32 = 4;

/// A row, from its own start: counts claims of the row in its upper half, and says in the lower one whether it is in
/// use ([`CLAIM_ACTIVE`]) and how many leases its owner wishes. The owner's.
pub const ROW_CLAIM: Field<u64> = Field::at(0);
/// The low 32 bits of the generation in its upper half, and a bit for each leased slot. The owner's.
pub const ROW_LEASE: Field<u64> = Field::at(8);
/// The last sequence number that was taken. The owner's.
pub const ROW_TAKEN: Field<u64> = Field::at(16);
/// Not 0 while the owner sleeps over [`WAKE`]; see [`WAITING_SEEN`]. The owner's.
pub const ROW_WAITING: Field<u32> = Field::at(24);
/// Process of the owner, for display.
pub const ROW_PID: Field<u32> = Field::at(28);
/// When the row was claimed, in ns since 1970, for display.
pub const ROW_SINCE: Field<u64> = Field::at(32);
/// The claim that it answers in its upper half, and the number of leases that are granted. The producer's.
pub const ROW_GRANT: Field<u64> = Field::at(64);
/// Bytes of a row: a cache line of its owner's and one of the producer's.
pub const ROW_BYTES: usize = 128;

/// Set in a word that says that somebody sleeps when its other bits are those of the value that is slept over: only the
/// change from that value needs a ring. Who says just 1 is rung for at each change.
pub const WAITING_SEEN: u64 = 1 << 31;

/// The row is in use.
pub const CLAIM_ACTIVE: u64 = 1 << 31;
/// Mask of the leases wished for.
pub const CLAIM_WISH: u64 = 0xff;

/// Where the tables are in a segment, checked against its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tables {
    /// First byte of the slot table.
    pub slots_offset: usize,
    /// Bytes from one entry to the next.
    pub slots_stride: usize,
    /// Its entries, at most [`MAX_SLOTS`].
    pub slots: u32,
    /// First byte of the rows.
    pub rows_offset: usize,
    /// Bytes from one row to the next.
    pub rows_stride: usize,
    /// Their number, at most [`ROWS`].
    pub rows: u32,
}

impl Tables {
    /// Where we put them.
    pub const OURS: Self = Self {
        slots_offset: HEADER_BYTES,
        slots_stride: SLOT_BYTES,
        slots: MAX_SLOTS,
        rows_offset: 8192,
        rows_stride: ROW_BYTES,
        rows: ROWS,
    };

    /// Offset of a field of a slot's entry.
    pub const fn slot<T>(&self, slot: u32, field: Field<T>) -> usize {
        self.slots_offset + slot as usize * self.slots_stride + field.offset()
    }

    /// Offset of a field of a row.
    pub const fn row<T>(&self, row: u32, field: Field<T>) -> usize {
        self.rows_offset + row as usize * self.rows_stride + field.offset()
    }
}

const _: () = {
    assert!(MAGIC.end() == VERSION.offset());
    assert!(VERSION.end() == HEADER_SIZE.offset());
    assert!(HEADER_SIZE.end() == REQUIRED.offset());
    assert!(REQUIRED.end() == OPTIONAL.offset());
    assert!(OPTIONAL.end() == SEGMENT_SIZE.offset());
    assert!(SEGMENT_SIZE.end() == CLOCK.offset());
    assert!(CLOCK.end() == SLOTS_OFFSET.offset());
    assert!(SLOTS_OFFSET.end() == SLOTS_STRIDE.offset());
    assert!(SLOTS_STRIDE.end() == SLOTS_COUNT.offset());
    assert!(SLOTS_COUNT.end() == ROWS_OFFSET.offset());
    assert!(ROWS_OFFSET.end() == ROWS_STRIDE.offset());
    assert!(ROWS_STRIDE.end() == ROWS_COUNT.offset());
    assert!(ROWS_COUNT.end() == DESCRIPTION_OFFSET.offset());
    assert!(DESCRIPTION_OFFSET.end() == DESCRIPTION_SIZE.offset());
    assert!(DESCRIPTION_SIZE.end() == CAPS_OFFSET.offset());
    assert!(CAPS_OFFSET.end() == CAPS_CAPACITY.offset());
    assert!(CAPS_CAPACITY.end() <= NEWEST.offset());
    assert!(NEWEST.end() == EDITION.offset());
    assert!(EDITION.end() == STATE.offset());
    // What the producer writes, what it is asked through, and what consumers write share no cache line.
    assert!(STATE.end() <= 192 && WAKE.offset() == 192 && PRODUCER_WAITING.end() <= 256 && FREED.offset() == 256);
    assert!(FREED.end() <= OUR_DESCRIPTION_OFFSET);
    assert!(OUR_DESCRIPTION_OFFSET + OUR_DESCRIPTION_BYTES <= OUR_CAPS_OFFSET);
    assert!(OUR_CAPS_OFFSET + MAX_CAPS_BYTES == HEADER_BYTES);
    let tables = Tables::OURS;
    assert!(tables.slots_offset + tables.slots as usize * tables.slots_stride <= tables.rows_offset);
    assert!(tables.rows_offset + tables.rows as usize * tables.rows_stride <= SEGMENT_BYTES);
    assert!(tables.slots_offset.is_multiple_of(64) && tables.rows_offset.is_multiple_of(128));
    assert!(SLOT_SEQUENCE.end() == SLOT_PTS.offset());
    assert!(SLOT_PTS.end() == SLOT_DURATION.offset());
    assert!(SLOT_DURATION.end() == SLOT_PUBLISHED.offset());
    assert!(SLOT_PUBLISHED.end() == SLOT_PAYLOAD.offset());
    assert!(SLOT_PAYLOAD.end() == SLOT_STRIDE.offset());
    assert!(SLOT_STRIDE.end() == SLOT_FLAGS.offset());
    assert!(SLOT_FLAGS.end() == SLOT_OFFSET.offset());
    assert!(SLOT_OFFSET.end() <= SLOT_BYTES);
    assert!(ROW_CLAIM.end() == ROW_LEASE.offset());
    assert!(ROW_LEASE.end() == ROW_TAKEN.offset());
    assert!(ROW_TAKEN.end() == ROW_WAITING.offset());
    assert!(ROW_WAITING.end() == ROW_PID.offset());
    assert!(ROW_PID.end() == ROW_SINCE.offset());
    assert!(ROW_SINCE.end() <= ROW_GRANT.offset() && ROW_GRANT.offset() == 64 && ROW_GRANT.end() <= ROW_BYTES);
    // A lease is a bit of the lower half of a word; a sleeper is a bit of a u32.
    assert!(MAX_SLOTS <= 32 && ROWS <= 32);
};

/// Why bytes are no control segment that this program can read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// No producer has finished it yet.
    #[error("the control segment is not ready yet")]
    NotReady,
    /// Too few bytes for any version.
    #[error("a control segment of {len} bytes, at least {needed} are needed")]
    TooShort {
        /// Bytes that there are.
        len: usize,
        /// Bytes that are needed.
        needed: usize,
    },
    /// Something else.
    #[error("the magic is {found:#018x}, not a control segment's")]
    BadMagic {
        /// The first 8 bytes.
        found: u64,
    },
    /// Another version of the protocol.
    #[error("control protocol version {found}, this program knows {VERSION_VALUE}")]
    Version {
        /// The version.
        found: u32,
    },
    /// Features without which it cannot be read.
    #[error("the control segment requires features {missing:#x}, which this program does not know")]
    Features {
        /// Bits of the unknown ones.
        missing: u64,
    },
    /// A number that cannot be right.
    #[error("{what} is {found}, which {why}")]
    Bad {
        /// The field.
        what: &'static str,
        /// Its value.
        found: u64,
        /// What is wrong with it.
        why: &'static str,
    },
}

pub(super) fn bad(what: &'static str, found: impl Into<u64>, why: &'static str) -> LayoutError {
    LayoutError::Bad { what, found: found.into(), why }
}

/// What stands in front of the description, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether every frame must be taken in order.
    pub lossless: bool,
    /// Optional features; unknown ones are there, too.
    pub optional: u64,
    /// Where the tables are.
    pub tables: Tables,
    /// Where the description starts.
    pub description: usize,
    /// Where the caps text starts, and its most bytes.
    pub caps: (usize, usize),
}

impl Header {
    /// Reads the header in `bytes`, a private copy of the first [`HEADER_BYTES`] of a segment of `segment_len` bytes.
    ///
    /// # Errors
    /// Not ready, another magic or version, unknown required features, tables outside of the segment.
    pub fn parse(bytes: &[u8], segment_len: usize) -> Result<Self, LayoutError> {
        let len = bytes.len().min(segment_len);
        let short = LayoutError::TooShort { len, needed: HEADER_BYTES };
        if len < HEADER_BYTES {
            return Err(short);
        }
        let word = |field: Field<u32>| field.get(bytes).ok_or(short.clone());
        let long = |field: Field<u64>| field.get(bytes).ok_or(short.clone());
        match long(MAGIC)? {
            MAGIC_VALUE => {}
            0 => return Err(LayoutError::NotReady),
            found => return Err(LayoutError::BadMagic { found }),
        }
        match word(VERSION)? {
            VERSION_VALUE => {}
            found => return Err(LayoutError::Version { found }),
        }
        let required = long(REQUIRED)?;
        let missing = required & !KNOWN_REQUIRED;
        if missing != 0 {
            return Err(LayoutError::Features { missing });
        }
        let header_size = word(HEADER_SIZE)?;
        if (header_size as usize) > HEADER_BYTES || (header_size as usize) < OUR_DESCRIPTION_OFFSET {
            return Err(bad("the header's size", header_size, "no version 1 has"));
        }
        let within = |what, offset: u32, bytes: u64, end: usize, align: u32| {
            if !offset.is_multiple_of(align) {
                return Err(bad(what, offset, "is not aligned"));
            }
            if (offset as usize) < FREED.end() || u64::from(offset) + bytes > end as u64 {
                return Err(bad(what, offset, "lies outside of its place"));
            }
            Ok(offset as usize)
        };
        let table = |what, offset, stride: u32, count: u32, least: usize, most: u32| {
            if (stride as usize) < least || !stride.is_multiple_of(64) {
                return Err(bad(what, stride, "is no distance of entries"));
            }
            if count == 0 {
                return Err(bad(what, count, "is no number of entries"));
            }
            within(what, offset, u64::from(stride) * u64::from(count), segment_len, 64)
                .map(|offset| (offset, stride as usize, count.min(most)))
        };
        let slots = (word(SLOTS_OFFSET)?, word(SLOTS_STRIDE)?, word(SLOTS_COUNT)?);
        let rows = (word(ROWS_OFFSET)?, word(ROWS_STRIDE)?, word(ROWS_COUNT)?);
        let (slots_offset, slots_stride, slots) =
            table("the slot table", slots.0, slots.1, slots.2, SLOT_BYTES, MAX_SLOTS)?;
        let (rows_offset, rows_stride, rows) = table("the table of rows", rows.0, rows.1, rows.2, ROW_BYTES, ROWS)?;
        let description_size = word(DESCRIPTION_SIZE)?;
        if (description_size as usize) < OUR_DESCRIPTION_BYTES {
            return Err(bad("the description's size", description_size, "is too small"));
        }
        let description = word(DESCRIPTION_OFFSET)?;
        let description = within("the description", description, description_size.into(), header_size as usize, 8)?;
        let capacity = word(CAPS_CAPACITY)?;
        let caps = within("the caps", word(CAPS_OFFSET)?, capacity.into(), header_size as usize, 1)?;
        Ok(Self {
            lossless: required & REQUIRED_LOSSLESS != 0,
            optional: long(OPTIONAL)?,
            tables: Tables { slots_offset, slots_stride, slots, rows_offset, rows_stride, rows },
            description,
            caps: (caps, capacity as usize),
        })
    }

    /// Writes our own header into `bytes`, but for the magic, which comes last.
    pub(super) fn put(bytes: &mut [u8; HEADER_BYTES], lossless: bool) {
        let tables = Tables::OURS;
        let mut word = |field: Field<u32>, value: usize| field.put(bytes, value as u32);
        let _ = word(VERSION, VERSION_VALUE as usize);
        let _ = word(HEADER_SIZE, HEADER_BYTES);
        let _ = word(SEGMENT_SIZE, SEGMENT_BYTES);
        let _ = word(CLOCK, if cfg!(windows) { 2 } else { 1 });
        let _ = word(SLOTS_OFFSET, tables.slots_offset);
        let _ = word(SLOTS_STRIDE, tables.slots_stride);
        let _ = word(SLOTS_COUNT, tables.slots as usize);
        let _ = word(ROWS_OFFSET, tables.rows_offset);
        let _ = word(ROWS_STRIDE, tables.rows_stride);
        let _ = word(ROWS_COUNT, tables.rows as usize);
        let _ = word(DESCRIPTION_OFFSET, OUR_DESCRIPTION_OFFSET);
        let _ = word(DESCRIPTION_SIZE, OUR_DESCRIPTION_BYTES);
        let _ = word(CAPS_OFFSET, OUR_CAPS_OFFSET);
        let _ = word(CAPS_CAPACITY, MAX_CAPS_BYTES);
        let _ = REQUIRED.put(bytes, if lossless { REQUIRED_LOSSLESS } else { 0 });
        let _ = OPTIONAL.put(bytes, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        Header::put(&mut bytes, true);
        MAGIC.put(&mut bytes, MAGIC_VALUE).unwrap();
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Header, LayoutError> {
        Header::parse(bytes, SEGMENT_BYTES)
    }

    #[test]
    fn a_header_says_what_was_put_into_it() {
        let header = parse(&header()).unwrap();
        assert_eq!(header.tables, Tables::OURS);
        assert!(header.lossless);
        assert_eq!((header.description, header.caps), (OUR_DESCRIPTION_OFFSET, (OUR_CAPS_OFFSET, MAX_CAPS_BYTES)));
    }

    #[test]
    fn the_first_bytes_are_these() {
        let golden: [u8; 80] = [
            0x54,
            0x44,
            0x4c,
            0x49,
            0x4e,
            0x4b,
            0x1a,
            0x00, // magic
            0x01,
            0x00,
            0x00,
            0x00, // version 1
            0x00,
            0x10,
            0x00,
            0x00, // header of 4096 bytes
            0x01,
            0x00,
            0x00,
            0x00,
            0x00,
            0x00,
            0x00,
            0x00, // required: lossless
            0x00,
            0x00,
            0x00,
            0x00,
            0x00,
            0x00,
            0x00,
            0x00, // optional: none
            0x00,
            0x40,
            0x00,
            0x00, // segment of 16384 bytes
            if cfg!(windows) { 2 } else { 1 },
            0x00,
            0x00,
            0x00, // clock
            0x00,
            0x10,
            0x00,
            0x00,
            0x40,
            0x00,
            0x00,
            0x00,
            0x10,
            0x00,
            0x00,
            0x00, // slots: at 4096, 64 bytes, 16
            0x00,
            0x20,
            0x00,
            0x00,
            0x80,
            0x00,
            0x00,
            0x00,
            0x20,
            0x00,
            0x00,
            0x00, // rows: at 8192, 128 bytes, 32
            0x80,
            0x01,
            0x00,
            0x00,
            0x00,
            0x02,
            0x00,
            0x00, // description: at 384, 512 bytes
            0x00,
            0x04,
            0x00,
            0x00,
            0x00,
            0x0c,
            0x00,
            0x00, // caps: at 1024, 3072 bytes
        ];
        assert_eq!(header()[..80], golden);
    }

    #[test]
    fn an_unfinished_segment_is_not_ready_and_another_thing_is_told() {
        assert_eq!(parse(&[0; HEADER_BYTES]), Err(LayoutError::NotReady));
        assert_eq!(parse(&[1; 100]), Err(LayoutError::TooShort { len: 100, needed: HEADER_BYTES }));
        assert_eq!(parse(&[1; HEADER_BYTES]), Err(LayoutError::BadMagic { found: 0x0101_0101_0101_0101 }));
    }

    #[test]
    fn an_unknown_required_feature_is_refused_and_an_unknown_optional_one_is_not() {
        let mut bytes = header();
        OPTIONAL.put(&mut bytes, 1 << 40).unwrap();
        assert_eq!(parse(&bytes).unwrap().optional, 1 << 40);
        REQUIRED.put(&mut bytes, REQUIRED_LOSSLESS | 1 << 5).unwrap();
        assert_eq!(parse(&bytes), Err(LayoutError::Features { missing: 1 << 5 }));
        let mut bytes = header();
        VERSION.put(&mut bytes, 2).unwrap();
        assert_eq!(parse(&bytes), Err(LayoutError::Version { found: 2 }));
    }

    #[test]
    fn no_table_leads_out_of_the_segment() {
        let edges = [0, 1, 63, 64, 100, 4095, 4096, 16320, 16384, 1 << 20, u32::MAX - 63, u32::MAX];
        let fields = [
            SLOTS_OFFSET,
            SLOTS_STRIDE,
            SLOTS_COUNT,
            ROWS_OFFSET,
            ROWS_STRIDE,
            ROWS_COUNT,
            DESCRIPTION_OFFSET,
            DESCRIPTION_SIZE,
            CAPS_OFFSET,
            CAPS_CAPACITY,
            HEADER_SIZE,
        ];
        // Miri takes a second for a hundred of them.
        let others = if cfg!(miri) { &fields[..1] } else { &fields[..] };
        for field in fields {
            for &other in others {
                for (a, b) in edges.iter().flat_map(|a| edges.map(|b| (*a, b))) {
                    let mut bytes = header();
                    field.put(&mut bytes, a).unwrap();
                    other.put(&mut bytes, b).unwrap();
                    let Ok(header) = parse(&bytes) else { continue };
                    let tables = header.tables;
                    assert!(tables.slots >= 1 && tables.slots <= MAX_SLOTS && tables.rows >= 1 && tables.rows <= ROWS);
                    assert!(tables.slot(tables.slots - 1, SLOT_OFFSET) + 8 <= SEGMENT_BYTES);
                    assert!(tables.row(tables.rows - 1, ROW_GRANT) + 8 <= SEGMENT_BYTES);
                    assert_eq!((tables.slot(1, SLOT_SEQUENCE) % 8, tables.row(1, ROW_CLAIM) % 8), (0, 0));
                    assert!(header.description + OUR_DESCRIPTION_BYTES <= HEADER_BYTES);
                    assert!(header.caps.0 + header.caps.1 <= HEADER_BYTES);
                }
            }
        }
    }
}
