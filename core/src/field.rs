// SPDX-License-Identifier: MPL-2.0
//! A wire format is a table of fields at fixed offsets; the compiler adds the table up.

use std::marker::PhantomData;

/// A little-endian `T` at a fixed offset, in bytes from the start of a header.
#[derive(Debug)]
pub struct Field<T> {
    offset: usize,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

impl<T> Field<T> {
    /// The field that starts `offset` bytes into the header.
    pub const fn at(offset: usize) -> Self {
        Self { offset, value: PhantomData }
    }

    /// First byte of the field.
    pub const fn offset(self) -> usize {
        self.offset
    }

    /// First byte after the field.
    pub const fn end(self) -> usize {
        self.offset + size_of::<T>()
    }
}

macro_rules! little_endian {
    ($($t:ty),*) => {$(
        impl Field<$t> {
            /// The value in `bytes`, or `None` when they end before the field does.
            pub fn get(self, bytes: &[u8]) -> Option<$t> {
                let raw = bytes.get(self.offset..self.end())?;
                Some(<$t>::from_le_bytes(raw.try_into().ok()?))
            }

            /// Writes `value` into `bytes`; `None` when they end before the field does.
            pub fn put(self, bytes: &mut [u8], value: $t) -> Option<()> {
                bytes.get_mut(self.offset..self.end())?.copy_from_slice(&value.to_le_bytes());
                Some(())
            }
        }
    )*};
}

little_endian!(u8, u16, u32, u64, i32, i64, f32, f64);

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: Field<u32> = Field::at(3); // not aligned, as some wire formats have it

    #[test]
    fn a_field_reads_what_it_wrote_and_nothing_beside() {
        let mut bytes = [0xAAu8; 8];
        WIDTH.put(&mut bytes, 0x0102_0304).unwrap();
        assert_eq!(bytes, [0xAA, 0xAA, 0xAA, 4, 3, 2, 1, 0xAA]);
        assert_eq!(WIDTH.get(&bytes), Some(0x0102_0304));
    }

    #[test]
    fn a_field_beyond_the_end_is_none() {
        assert_eq!(WIDTH.get(&[0; 6]), None);
        assert_eq!(WIDTH.put(&mut [0; 6], 1), None);
    }
}
