// SPDX-License-Identifier: MPL-2.0
//! Pixels of a wire become pictures and back: each pixel is read as R, G, B and alpha, changed, and written.

use super::colour::{Light, Luma, Pixel};
use super::sample::{Sample, code, within};
use super::{Span, extent};

/// Bytes of the one parameter: four addresses and eighteen words of 32 bits.
pub const PARAMETER_BYTES: usize = 104;

/// The parameter.
struct Call {
    source: Side,
    destination: Side,
    width: usize,
    height: usize,
    flip: bool,
    sample: Sample,
    /// Where R, G, B and alpha stand in a pixel of the wire, and how many components it has.
    components: ([Option<usize>; 4], usize),
    picture: u32,
    light: Light,
    matrix: u32,
    full: bool,
    /// Chroma stands on the left of its two columns, not in their middle.
    left: bool,
}

/// Addresses of the planes, and bytes between their rows.
struct Side {
    first: (u64, usize),
    chroma: (u64, usize),
}

/// Pictures by their numbers.
const RGB10A2: u32 = 6;
const NV12: u32 = 7;
const P010: u32 = 8;

impl Call {
    fn new(words: &[u64]) -> Option<Self> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let half = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let &[source, source_chroma, destination, destination_chroma, ..] = words else { return None };
        let pitch = |at| half(at).map(|pitch| pitch as usize);
        Some(Self {
            source: Side { first: (source, pitch(32)?), chroma: (source_chroma, pitch(36)?) },
            destination: Side { first: (destination, pitch(40)?), chroma: (destination_chroma, pitch(44)?) },
            width: half(48)? as usize,
            height: half(52)? as usize,
            flip: half(56)? != 0,
            sample: Sample::numbered(half(60)?)?,
            components: components(half(64)?)?,
            picture: half(68)?,
            light: Light {
                alpha: half(72)?,
                transfer: half(76)?,
                white: f32::from_bits(half(80)?).into(),
                widen: half(84)? != 0,
            },
            matrix: half(88)?,
            full: half(92)? != 0,
            left: half(96)? != 0,
        })
    }

    fn wire_pixel(&self) -> usize {
        self.sample.bytes() * self.components.1
    }

    /// The row of the wire that is row `y` of the picture.
    fn wire_row(&self, y: usize) -> usize {
        if self.flip { self.height - 1 - y } else { y }
    }

    /// The wire's memory.
    fn wire(&self, (pointer, pitch): (u64, usize)) -> Option<Plane> {
        Plane::new(pointer, pitch, self.width.checked_mul(self.wire_pixel())?, self.height)
    }

    fn read_wire(&self, wire: &Plane, y: usize) -> Option<Vec<Pixel>> {
        let row = wire.read(self.wire_row(y))?;
        let (places, _) = self.components;
        let pixel = |bytes: &[u8]| {
            let at = |place: Option<usize>, none| match place {
                Some(place) => self.sample.read(&bytes[place * self.sample.bytes()..]),
                None => Some(none),
            };
            let read = [at(places[0], 0.0)?, at(places[1], 0.0)?, at(places[2], 0.0)?, at(places[3], 1.0)?];
            Some(self.light.apply(read, places[3].is_some()))
        };
        row.chunks_exact(self.wire_pixel()).map(pixel).collect()
    }

    fn write_wire(&self, wire: &Plane, y: usize, pixels: impl Iterator<Item = Pixel>) -> Option<()> {
        let (places, count) = self.components;
        let mut row = Vec::with_capacity(self.width * self.wire_pixel());
        for pixel in pixels {
            for component in 0..count {
                // Of grey, R is what is written.
                let which = places.iter().position(|place| *place == Some(component));
                self.sample.write(which.map_or(1.0, |which| pixel[which]), &mut row)?;
            }
        }
        wire.write(self.wire_row(y), &row)
    }

    fn luma(&self) -> Option<(Luma, usize)> {
        let bytes = match self.picture {
            NV12 => 1,
            P010 => 2,
            _ => return None,
        };
        Some((Luma::new(self.matrix, self.full, if bytes == 1 { 8 } else { 10 })?, bytes))
    }

    fn planes(&self, side: &Side, bytes: usize) -> Option<(Plane, Plane)> {
        let chroma_row = self.width.div_ceil(2).checked_mul(2 * bytes)?;
        Some((
            Plane::new(side.first.0, side.first.1, self.width.checked_mul(bytes)?, self.height)?,
            Plane::new(side.chroma.0, side.chroma.1, chroma_row, self.height.div_ceil(2))?,
        ))
    }
}

/// Of the wires by their numbers.
fn components(number: u32) -> Option<([Option<usize>; 4], usize)> {
    let of = |r, g, b, a: Option<usize>, count| Some(([Some(r), g, b, a], count));
    match number {
        0 => of(0, Some(0), Some(0), None, 1),
        1 => of(0, Some(1), None, None, 2),
        2 => of(0, Some(0), Some(0), Some(1), 2),
        3 => of(0, Some(1), Some(2), None, 3),
        4 => of(2, Some(1), Some(0), None, 3),
        5 => of(0, Some(1), Some(2), Some(3), 4),
        6 => of(2, Some(1), Some(0), Some(3), 4),
        7 => of(0, Some(1), Some(2), None, 4),
        8 => of(2, Some(1), Some(0), None, 4),
        _ => None,
    }
}

/// Rows of device memory, all of which was checked.
struct Plane {
    span: Span,
    pitch: usize,
    row: usize,
}

impl Plane {
    fn new(pointer: u64, pitch: usize, row: usize, rows: usize) -> Option<Self> {
        Some(Self { span: Span::new(pointer, extent(pitch, row, rows)?)?, pitch, row })
    }

    fn read(&self, y: usize) -> Option<Vec<u8>> {
        let mut row = vec![0; self.row];
        self.span.read(y * self.pitch, &mut row)?;
        Some(row)
    }

    fn write(&self, y: usize, row: &[u8]) -> Option<()> {
        assert_eq!(row.len(), self.row, "a row is written as a whole");
        self.span.write(y * self.pitch, row)
    }
}

/// Where R, G, B and alpha stand in a picture of bytes, and how many it has.
fn bytes_of(picture: u32) -> Option<([Option<usize>; 4], usize)> {
    components([5, 6, 7, 8, 3, 4].get(picture as usize).copied()?)
}

fn is_empty(call: &Call) -> bool {
    call.width == 0 || call.height == 0
}

pub fn to_packed(words: &[u64], pause: &dyn Fn()) -> Option<()> {
    let call = Call::new(words)?;
    if is_empty(&call) {
        return Some(());
    }
    let form = if call.picture == RGB10A2 { None } else { Some(bytes_of(call.picture)?) };
    let pixel = form.map_or(4, |(_, count)| count);
    let from = call.wire(call.source.first)?;
    let (pointer, pitch) = call.destination.first;
    let to = Plane::new(pointer, pitch, call.width.checked_mul(pixel)?, call.height)?;
    pause();
    for y in 0..call.height {
        if y == call.height / 2 {
            pause();
        }
        let mut row = Vec::with_capacity(call.width * pixel);
        for pixel in call.read_wire(&from, y)? {
            match form {
                Some((places, count)) => row.extend((0..count).map(|component| {
                    let which = places.iter().position(|place| *place == Some(component));
                    code(which.map_or(1.0, |which| pixel[which]), 255) as u8
                })),
                None => {
                    let [r, g, b] = [0, 1, 2].map(|at| code(pixel[at], 1023));
                    row.extend((r | g << 10 | b << 20 | code(pixel[3], 3) << 30).to_le_bytes());
                }
            }
        }
        to.write(y, &row)?;
    }
    Some(())
}

pub fn from_packed(words: &[u64], pause: &dyn Fn()) -> Option<()> {
    let call = Call::new(words)?;
    if is_empty(&call) {
        return Some(());
    }
    let form = if call.picture == RGB10A2 { None } else { Some(bytes_of(call.picture)?) };
    let size = form.map_or(4, |(_, count)| count);
    let (pointer, pitch) = call.source.first;
    let from = Plane::new(pointer, pitch, call.width.checked_mul(size)?, call.height)?;
    let to = call.wire(call.destination.first)?;
    pause();
    for y in 0..call.height {
        if y == call.height / 2 {
            pause();
        }
        let row = from.read(y)?;
        let pixel = |bytes: &[u8]| match form {
            Some((places, _)) => {
                let read = places.map(|place| place.map_or(1.0, |place| f64::from(bytes[place]) / 255.0));
                call.light.apply(read, places[3].is_some())
            }
            None => {
                let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                let [r, g, b] = [0, 10, 20].map(|shift| f64::from(word >> shift & 1023) / 1023.0);
                call.light.apply([r, g, b, f64::from(word >> 30) / 3.0], true)
            }
        };
        call.write_wire(&to, y, row.chunks_exact(size).map(pixel))?;
    }
    Some(())
}

/// Codes of a plane: bytes, or the upper ten bits of words.
fn codes(row: &[u8], bytes: usize) -> Vec<u32> {
    match bytes {
        1 => row.iter().map(|byte| u32::from(*byte)).collect(),
        _ => row.chunks_exact(2).map(|two| u32::from(u16::from_le_bytes([two[0], two[1]]) >> 6)).collect(),
    }
}

fn coded(codes: &[u32], bytes: usize) -> Vec<u8> {
    match bytes {
        1 => codes.iter().map(|code| *code as u8).collect(),
        _ => codes.iter().flat_map(|code| ((code << 6) as u16).to_le_bytes()).collect(),
    }
}

pub fn to_yuv(words: &[u64], pause: &dyn Fn()) -> Option<()> {
    let call = Call::new(words)?;
    if is_empty(&call) {
        return Some(());
    }
    let (luma, bytes) = call.luma()?;
    let from = call.wire(call.source.first)?;
    let (first, chroma) = call.planes(&call.destination, bytes)?;
    pause();
    for pair in 0..call.height.div_ceil(2) {
        if pair == call.height.div_ceil(2) / 2 {
            pause();
        }
        let mut rows: Vec<Vec<[f64; 3]>> = Vec::new();
        for y in (pair * 2..call.height).take(2) {
            // A picture has no more than white, whatever the wire has.
            let pixels = call.read_wire(&from, y)?;
            let row: Vec<_> = pixels.iter().map(|[r, g, b, _]| [*r, *g, *b].map(|v| within(v, 1.0))).collect();
            let all: Vec<_> = row.iter().map(|colour| luma.luma(*colour)).collect();
            first.write(y, &coded(&all, bytes))?;
            rows.push(row);
        }
        let mut all = Vec::new();
        for x in (0..call.width).step_by(2) {
            // A weight for each column around the site: a tent on the left one, or both alike. What is beyond an edge is
            // what is at the edge.
            let columns: &[(isize, f64)] =
                if call.left { &[(-1, 0.25), (0, 0.5), (1, 0.25)] } else { &[(0, 0.5), (1, 0.5)] };
            let mean = [0, 1, 2].map(|at| {
                let weighed = rows.iter().flat_map(|row| {
                    columns.iter().map(move |(aside, weight)| {
                        let column = x.saturating_add_signed(*aside).min(row.len() - 1);
                        weight * row[column][at]
                    })
                });
                weighed.sum::<f64>() / rows.len() as f64
            });
            all.extend(luma.chroma(mean));
        }
        chroma.write(pair, &coded(&all, bytes))?;
    }
    Some(())
}

pub fn from_yuv(words: &[u64], pause: &dyn Fn()) -> Option<()> {
    let call = Call::new(words)?;
    if is_empty(&call) {
        return Some(());
    }
    let (luma, bytes) = call.luma()?;
    let (first, chroma) = call.planes(&call.source, bytes)?;
    let to = call.wire(call.destination.first)?;
    pause();
    for y in 0..call.height {
        if y == call.height / 2 {
            pause();
        }
        let (row, pairs) = (codes(&first.read(y)?, bytes), codes(&chroma.read(y / 2)?, bytes));
        let pixels = row.iter().enumerate().map(|(x, code)| {
            let here = x / 2 * 2;
            let next = if call.left && x % 2 == 1 && here + 2 < pairs.len() { here + 2 } else { here };
            let chroma = [0, 1].map(|at| f64::from(pairs[here + at] + pairs[next + at]) / 2.0);
            let [r, g, b] = luma.colour(*code, chroma);
            call.light.apply([r, g, b, 1.0], false)
        });
        call.write_wire(&to, y, pixels)?;
    }
    Some(())
}
