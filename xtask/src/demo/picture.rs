// SPDX-License-Identifier: MPL-2.0
//! What stands in a decoded picture of `examples/python/touchdesigner_sender.py`: the frame number, above and below, and
//! the coloured corners. The numbers here and there must agree: `cells` and `Picture.draw` of the example.

/// An upright picture, three bytes a pixel.
pub struct Picture<'a> {
    pub width: usize,
    pub height: usize,
    /// Bytes per row.
    pub stride: usize,
    pub rgb: &'a [u8],
}

const CELLS: usize = 24;
const RED: [u8; 3] = [220, 30, 30];
const GREEN: [u8; 3] = [30, 200, 30];
const BLUE: [u8; 3] = [30, 60, 220];
const YELLOW: [u8; 3] = [240, 220, 30];

impl Picture<'_> {
    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = y * self.stride + 3 * x;
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }

    /// The mean colour of the middle half of a rectangle: an encoder blurs what is near an edge.
    pub fn middle(&self, x: usize, y: usize, width: usize, height: usize) -> [u8; 3] {
        let (columns, rows) = (x + width / 4..x + width - width / 4, y + height / 4..y + height - height / 4);
        let mut sums = [0usize; 3];
        let mut count = 0;
        for (row, column) in rows.flat_map(|row| columns.clone().map(move |column| (row, column))) {
            let pixel = self.pixel(column, row);
            for (sum, sample) in sums.iter_mut().zip(pixel) {
                *sum += usize::from(sample);
            }
            count += 1;
        }
        sums.map(|sum| (sum / usize::max(count, 1)) as u8)
    }

    /// The frame number in the upper bar and in the lower one; `None` where it cannot be read.
    pub fn numbers(&self) -> [Option<u16>; 2] {
        let (side, bar) = (self.height / 8, self.height / 16);
        [0, self.height - bar].map(|y| {
            let edge = |cell: usize| side + cell * (self.width - 2 * side) / CELLS;
            let mut word = 0u32;
            for cell in 0..CELLS {
                let [r, g, b] = self.middle(edge(cell), y, edge(cell + 1) - edge(cell), bar);
                let bit = match (u32::from(r) + u32::from(g) + u32::from(b)) / 3 {
                    160.. => 1,
                    ..=95 => 0,
                    _ => return None,
                };
                word = word << 1 | bit;
            }
            decode(word)
        })
    }

    /// The corner that is not as drawn, if one is: its name, what was found and what was expected.
    pub fn wrong_corner(&self) -> Option<String> {
        let side = self.height / 8;
        let (right, bottom) = (self.width - side, self.height - side);
        let corners = [
            ("top left", 0, 0, RED),
            ("top right", right, 0, GREEN),
            ("bottom left", 0, bottom, BLUE),
            ("bottom right", right, bottom, YELLOW),
        ];
        corners.into_iter().find_map(|(name, x, y, expected)| {
            let found = self.middle(x, y, side, side);
            let far = found.iter().zip(expected).any(|(&a, b)| a.abs_diff(b) > 24);
            far.then(|| format!("{name} is {found:?}, expected about {expected:?}"))
        })
    }
}

/// The number in 24 cells: white, black, 16 bits, 4 bits of check, black, white.
fn decode(word: u32) -> Option<u16> {
    if word >> 22 != 0b10 || word & 0b11 != 0b01 {
        return None;
    }
    let number = (word >> 6 & 0xffff) as u16;
    let check = number >> 12 ^ number >> 8 & 15 ^ number >> 4 & 15 ^ number & 15 ^ 0b1010;
    (u32::from(check) == word >> 2 & 15).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(number: u16) -> u32 {
        let check = [12, 8, 4, 0].iter().fold(0b1010, |check, shift| check ^ u32::from(number >> shift & 15));
        0b10 << 22 | u32::from(number) << 6 | check << 2 | 0b01
    }

    #[test]
    fn every_number_reads_back_and_a_flipped_cell_never_reads() {
        for number in (0..=u16::MAX).step_by(257) {
            assert_eq!(decode(encode(number)), Some(number));
            for cell in 0..CELLS {
                assert_eq!(decode(encode(number) ^ 1 << cell), None, "number {number}, cell {cell}");
            }
        }
    }

    #[test]
    fn an_upside_down_picture_has_wrong_corners() {
        let (width, height) = (64, 32);
        let mut rgb = vec![0; width * height * 3];
        for (i, pixel) in rgb.chunks_exact_mut(3).enumerate() {
            let (x, y) = (i % width, i / width);
            let colour = match (x < width / 2, y < height / 2) {
                (true, true) => RED,
                (false, true) => GREEN,
                (true, false) => BLUE,
                (false, false) => YELLOW,
            };
            pixel.copy_from_slice(&colour);
        }
        let upright = Picture { width, height, stride: width * 3, rgb: &rgb };
        assert_eq!(upright.wrong_corner(), None);
        let flipped: Vec<u8> = rgb.chunks_exact(width * 3).rev().flatten().copied().collect();
        let flipped = Picture { width, height, stride: width * 3, rgb: &flipped };
        assert!(flipped.wrong_corner().is_some_and(|what| what.starts_with("top left is [30, 60, 220]")));
    }
}
