// SPDX-License-Identifier: MPL-2.0
//! The test card: a picture whose every fault can be told from the picture alone.
//!
//! It has 16 × 9 cells, whatever its size, in sRGB values as they stand in memory, alpha straight:
//!
//! | rows, from the top | what stands there |
//! | --- | --- |
//! | 0 | 16 cells black or white: [`TOP`], from the left |
//! | 1, 2 | eight bars: white, yellow, cyan, green, magenta, red, blue, black |
//! | 3, 4 | 16 greys from black to white, evenly spaced |
//! | 5, 6 | eight patches of one colour, [`TINT`], whose alpha goes from 1 to 0 |
//! | 7 | the frame's number, 16 bits, the highest at the left |
//! | 8 | 16 cells black or white: [`BOTTOM`] |

pub mod glsl;
pub mod judge;

/// Cells in a row.
pub const COLUMNS: u32 = 16;
/// Rows of cells.
pub const ROWS: u32 = 9;
/// Cells of the top row, the highest bit at the left. Neither it nor [`BOTTOM`] reads the same from the other side, or as
/// the other.
pub const TOP: u16 = 0b1011_0010_1110_1000;
/// Cells of the bottom row.
pub const BOTTOM: u16 = 0b1101_0001_0110_0111;
/// The colour whose alpha varies.
pub const TINT: [f32; 3] = [1.0, 0.5, 0.25];
/// The row that holds the frame's number.
pub const NUMBER_ROW: u32 = 7;
/// Bars and patches of alpha in a row.
pub const PATCHES: u32 = 8;

/// Colour of the cell at `column`, `row` (from the top) of frame `number`: R G B A, the maximum being 1.0.
pub fn cell(column: u32, row: u32, number: u16) -> [f32; 4] {
    let bit = |word: u16| {
        let value = f32::from(word >> (COLUMNS - 1 - column) & 1);
        [value, value, value, 1.0]
    };
    let patch = column * PATCHES / COLUMNS;
    match row {
        0 => bit(TOP),
        1 | 2 => bar(patch),
        3 | 4 => {
            let grey = column as f32 / (COLUMNS - 1) as f32;
            [grey, grey, grey, 1.0]
        }
        5 | 6 => [TINT[0], TINT[1], TINT[2], alpha(patch)],
        NUMBER_ROW => bit(number),
        _ => bit(BOTTOM),
    }
}

/// Colour of a bar: white, yellow, cyan, green, magenta, red, blue, black.
pub fn bar(number: u32) -> [f32; 4] {
    let on = |bit: u32| if number >> bit & 1 == 0 { 1.0 } else { 0.0 };
    [on(1), on(2), on(0), 1.0]
}

/// Alpha of a patch.
pub fn alpha(patch: u32) -> f32 {
    (PATCHES - 1 - patch) as f32 / (PATCHES - 1) as f32
}

/// The whole card, top row first, R G B A as floats, `width` × `height` pixels. A pixel is of the cell in which its middle
/// lies, as in the shader: where a size is no multiple of the cells, both have their edges in the same places.
pub fn draw(width: u32, height: u32, number: u16) -> Vec<[f32; 4]> {
    let of = |at: u32, size: u32, cells: u32| {
        ((2 * u64::from(at) + 1) * u64::from(cells) / (2 * u64::from(size.max(1)))) as u32
    };
    let row = |y: u32| (0..width).map(move |x| cell(of(x, width, COLUMNS), of(y, height, ROWS), number));
    (0..height).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bars_are_those_of_every_card() {
        let named = [
            [1.0, 1.0, 1.0],
            [1.0, 1.0, 0.0],
            [0.0, 1.0, 1.0],
            [0.0, 1.0, 0.0],
            [1.0, 0.0, 1.0],
            [1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0],
            [0.0, 0.0, 0.0],
        ];
        for (number, colour) in (0..).zip(named) {
            assert_eq!(bar(number)[..3], colour);
        }
    }

    #[test]
    fn no_row_of_cells_reads_like_another_from_any_side() {
        for (a, b) in
            [(TOP, BOTTOM), (TOP, TOP.reverse_bits()), (BOTTOM, BOTTOM.reverse_bits()), (TOP, BOTTOM.reverse_bits())]
        {
            assert!((a ^ b).count_ones() >= 6, "{a:016b} and {b:016b}");
        }
    }
}
