// SPDX-License-Identifier: MPL-2.0
//! The contact sheet: some pictures of a recording side by side, with captions, as a PNG.

use crate::demo::picture::Picture;

pub const COLUMNS: usize = 4;
pub const ROWS: usize = 3;
const CELL_WIDTH: usize = 320;
const GAP: usize = 8;
const TITLE: usize = 44;
const CAPTION: usize = 22;
const PAPER: [u8; 3] = [24, 24, 28];
const INK: [u8; 3] = [235, 235, 235];

pub struct Sheet {
    width: usize,
    height: usize,
    cell_height: usize,
    rgb: Vec<u8>,
}

impl Sheet {
    pub fn new(title: &str, picture_width: usize, picture_height: usize) -> Sheet {
        let cell_height = (CELL_WIDTH * picture_height / picture_width).max(1);
        let width = COLUMNS * (CELL_WIDTH + GAP) + GAP;
        let height = TITLE + ROWS * (cell_height + CAPTION + GAP);
        let mut sheet = Sheet { width, height, cell_height, rgb: PAPER.repeat(width * height) };
        sheet.text(title, GAP, (TITLE - 14) / 2, 2);
        sheet
    }

    /// Puts a picture into the next cell, made smaller by averaging.
    pub fn put(&mut self, index: usize, picture: &Picture, caption: &str) {
        let left = GAP + index % COLUMNS * (CELL_WIDTH + GAP);
        let top = TITLE + index / COLUMNS * (self.cell_height + CAPTION + GAP);
        for y in 0..self.cell_height {
            let rows = span(y, self.cell_height, picture.height);
            for x in 0..CELL_WIDTH {
                let columns = span(x, CELL_WIDTH, picture.width);
                let mut sums = [0usize; 3];
                for (row, column) in rows.clone().flat_map(|row| columns.clone().map(move |column| (row, column))) {
                    for (sum, sample) in sums.iter_mut().zip(picture.pixel(column, row)) {
                        *sum += usize::from(sample);
                    }
                }
                let count = rows.len() * columns.len();
                self.set(left + x, top + y, sums.map(|sum| (sum / count) as u8));
            }
        }
        self.text(caption, left, top + self.cell_height + 6, 1);
    }

    fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        if x < self.width && y < self.height {
            let at = 3 * (y * self.width + x);
            self.rgb[at..at + 3].copy_from_slice(&colour);
        }
    }

    fn text(&mut self, text: &str, x: usize, y: usize, dot: usize) {
        for (index, character) in text.chars().enumerate() {
            for (row, dots) in glyph(character).into_iter().enumerate() {
                for column in (0..5).filter(|column| dots & (16 >> column) != 0) {
                    let (left, top) = (x + (6 * index + column) * dot, y + row * dot);
                    for (dx, dy) in (0..dot).flat_map(|dx| (0..dot).map(move |dy| (dx, dy))) {
                        self.set(left + dx, top + dy, INK);
                    }
                }
            }
        }
    }

    pub fn png(&self) -> Vec<u8> {
        png(self.width, self.height, &self.rgb)
    }
}

/// The source pixels under cell pixel `at` of `cells`, at least one.
fn span(at: usize, cells: usize, pixels: usize) -> std::ops::Range<usize> {
    let start = at * pixels / cells;
    start..((at + 1) * pixels / cells).max(start + 1)
}

/// A PNG file of 8-bit RGB. The compression is zlib's "stored": larger files, no compressor.
fn png(width: usize, height: usize, rgb: &[u8]) -> Vec<u8> {
    let mut rows = Vec::with_capacity(height * (1 + 3 * width));
    for row in rgb.chunks_exact(3 * width) {
        rows.push(0); // no filter
        rows.extend_from_slice(row);
    }
    let mut zlib = vec![0x78, 0x01];
    let mut blocks = rows.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        zlib.push(u8::from(blocks.peek().is_none()));
        zlib.extend(length.to_le_bytes());
        zlib.extend((!length).to_le_bytes());
        zlib.extend(block);
    }
    let (a, b) = rows.iter().fold((1u32, 0u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65521;
        (a, (b + a) % 65521)
    });
    zlib.extend((b << 16 | a).to_be_bytes());

    let mut header = Vec::from((width as u32).to_be_bytes());
    header.extend((height as u32).to_be_bytes());
    header.extend([8, 2, 0, 0, 0]); // 8 bits, RGB, and the only methods there are
    let mut file = Vec::from(*b"\x89PNG\r\n\x1a\n");
    for (kind, body) in [(b"IHDR", header), (b"IDAT", zlib), (b"IEND", Vec::new())] {
        file.extend((body.len() as u32).to_be_bytes());
        let start = file.len();
        file.extend(kind);
        file.extend(body);
        let crc = crc32(&file[start..]);
        file.extend(crc.to_be_bytes());
    }
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

/// 5 x 7 dots: one byte a row, the highest of five bits on the left. Letters are capitals.
fn glyph(character: char) -> [u8; 7] {
    match character.to_ascii_uppercase() {
        'A' => [14, 17, 17, 31, 17, 17, 17],
        'B' => [30, 17, 17, 30, 17, 17, 30],
        'C' => [14, 17, 16, 16, 16, 17, 14],
        'D' => [30, 17, 17, 17, 17, 17, 30],
        'E' => [31, 16, 16, 30, 16, 16, 31],
        'F' => [31, 16, 16, 30, 16, 16, 16],
        'G' => [14, 17, 16, 23, 17, 17, 14],
        'H' => [17, 17, 17, 31, 17, 17, 17],
        'I' => [14, 4, 4, 4, 4, 4, 14],
        'J' => [7, 2, 2, 2, 2, 18, 12],
        'K' => [17, 18, 20, 24, 20, 18, 17],
        'L' => [16, 16, 16, 16, 16, 16, 31],
        'M' => [17, 27, 21, 21, 17, 17, 17],
        'N' => [17, 25, 21, 19, 17, 17, 17],
        'O' => [14, 17, 17, 17, 17, 17, 14],
        'P' => [30, 17, 17, 30, 16, 16, 16],
        'Q' => [14, 17, 17, 17, 21, 18, 13],
        'R' => [30, 17, 17, 30, 20, 18, 17],
        'S' => [15, 16, 16, 14, 1, 1, 30],
        'T' => [31, 4, 4, 4, 4, 4, 4],
        'U' => [17, 17, 17, 17, 17, 17, 14],
        'V' => [17, 17, 17, 17, 17, 10, 4],
        'W' => [17, 17, 17, 21, 21, 27, 17],
        'X' => [17, 17, 10, 4, 10, 17, 17],
        'Y' => [17, 17, 10, 4, 4, 4, 4],
        'Z' => [31, 1, 2, 4, 8, 16, 31],
        '0' => [14, 17, 19, 21, 25, 17, 14],
        '1' => [4, 12, 4, 4, 4, 4, 14],
        '2' => [14, 17, 1, 2, 4, 8, 31],
        '3' => [31, 2, 4, 2, 1, 17, 14],
        '4' => [2, 6, 10, 18, 31, 2, 2],
        '5' => [31, 16, 30, 1, 1, 17, 14],
        '6' => [6, 8, 16, 30, 17, 17, 14],
        '7' => [31, 1, 2, 4, 8, 8, 8],
        '8' => [14, 17, 17, 14, 17, 17, 14],
        '9' => [14, 17, 17, 15, 1, 2, 12],
        '.' => [0, 0, 0, 0, 0, 12, 12],
        ',' => [0, 0, 0, 0, 12, 4, 8],
        ':' => [0, 12, 12, 0, 12, 12, 0],
        '-' => [0, 0, 0, 31, 0, 0, 0],
        '/' => [1, 1, 2, 4, 8, 16, 16],
        _ => [0; 7],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_and_file_of_the_smallest_png_are_right() {
        assert_eq!(crc32(b"IEND"), 0xae42_6082);
        let file = png(1, 1, &[255, 0, 0]);
        // zlib head, one last stored block of 4 bytes (filter 0, red), Adler-32 of 00 ff 00 00.
        let data = [0x78, 0x01, 1, 4, 0, 0xfb, 0xff, 0, 255, 0, 0, 0x03, 0x01, 0x01, 0x00];
        assert!(file.windows(data.len()).any(|window| window == data), "{file:02x?}");
    }

    #[test]
    fn every_source_pixel_belongs_to_one_cell_pixel() {
        let covered: Vec<usize> = (0..320).flat_map(|x| span(x, 320, 1280)).collect();
        assert_eq!(covered, (0..1280).collect::<Vec<_>>());
        assert!((0..320).all(|x| span(x, 320, 100).len() == 1 && span(x, 320, 100).end <= 100));
    }
}
