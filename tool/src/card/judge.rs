// SPDX-License-Identifier: MPL-2.0
//! Reading the card back: where it is, how it stands, and what became of its colours.

use super::{BOTTOM, COLUMNS, PATCHES, ROWS, TINT, TOP, alpha, bar};

/// Cells of the two rows that must be read right for a picture to be a card: all of 32 but so many.
const WRONG_CELLS: u32 = 1;
/// White must differ from black by so much.
const CONTRAST: f32 = 0.15;
/// Colours within this of what they should be are what they should be.
const CLOSE: f32 = 0.045;

/// Pixels to look for the card in: top row first.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// R G B A.
    pub pixels: &'a [[f32; 4]],
    /// Pixels from one row to the next.
    pub pitch: usize,
    /// Pixels of a row that belong to the picture.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl View<'_> {
    /// The middle of a cell, all around it being of the same colour.
    fn cell(&self, column: f32, row: f32, way: Way) -> [f32; 4] {
        let (mut u, mut v) = ((column + 0.5) / COLUMNS as f32, (row + 0.5) / ROWS as f32);
        if way.mirrored {
            u = 1.0 - u;
        }
        if way.upside_down {
            v = 1.0 - v;
        }
        let x = ((u * self.width as f32) as usize).min(self.width.saturating_sub(1));
        let y = ((v * self.height as f32) as usize).min(self.height.saturating_sub(1));
        self.pixels.get(y * self.pitch + x).copied().unwrap_or([0.0; 4])
    }
}

/// How the card stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way {
    /// The bottom row comes first.
    pub upside_down: bool,
    /// The right column comes first.
    pub mirrored: bool,
}

/// A card that was found, and what is wrong with its colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// How it stands.
    pub way: Way,
    /// Red and blue are exchanged.
    pub swapped: bool,
    /// The bars are of other colours, red and blue exchanged or not, and the greys do not tell why.
    pub off_colours: bool,
    /// Black and white are those of limited range: 16 and 235 of 255.
    pub limited: bool,
    /// What the greys went through.
    pub greys: Greys,
    /// What became of alpha.
    pub alpha: AlphaFault,
    /// The frame's number.
    pub number: u16,
}

/// What the greys went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greys {
    /// Nothing.
    Right,
    /// They are linear light, which is too dark where sRGB is expected.
    Linear,
    /// They were made sRGB twice, which is too bright.
    TwiceCoded,
    /// Something else; they are off.
    Unknown,
}

/// What became of alpha.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlphaFault {
    /// It is as it should be.
    Right,
    /// Colours are multiplied by it.
    Premultiplied,
    /// It is opaque everywhere.
    Lost,
    /// Something else.
    Unknown,
}

/// How the card stands in `view`, if it is there at all.
pub fn find(view: View<'_>) -> Option<Way> {
    if view.width < COLUMNS as usize || view.height < ROWS as usize || view.pitch < view.width {
        return None;
    }
    let ways = [false, true]
        .into_iter()
        .flat_map(|upside_down| [false, true].into_iter().map(move |mirrored| Way { upside_down, mirrored }));
    ways.into_iter().find(|way| {
        let rows = [(0.0, TOP), ((ROWS - 1) as f32, BOTTOM)];
        let brightness = |row: f32| -> [f32; COLUMNS as usize] {
            std::array::from_fn(|column| {
                let [red, green, blue, _] = view.cell(column as f32, row, *way);
                (red + green + blue) / 3.0
            })
        };
        let read = rows.map(|(row, word)| (brightness(row), word));
        let all = || read.iter().flat_map(|(cells, _)| cells.iter().copied());
        let (least, most) = (all().fold(f32::INFINITY, f32::min), all().fold(f32::NEG_INFINITY, f32::max));
        if (most - least).is_nan() || most - least < CONTRAST {
            return false;
        }
        let word =
            |cells: &[f32]| cells.iter().fold(0u16, |word, cell| word << 1 | u16::from(*cell > (least + most) / 2.0));
        read.iter().map(|(cells, wanted)| (word(cells) ^ wanted).count_ones()).sum::<u32>() <= WRONG_CELLS
    })
}

/// What is wrong with the card that stands in `view` the `way` it does.
pub fn judge(view: View<'_>, way: Way, has_alpha: bool) -> Verdict {
    let patch = |number: u32, row: f32| view.cell((2 * number) as f32 + 0.5, row, way);
    let bars: Vec<[f32; 4]> = (0..PATCHES).map(|number| patch(number, 1.5)).collect();
    let (white, black) = (bars[0], bars[PATCHES as usize - 1]);
    let limited = black[..3].iter().all(|value| (value - 16.0 / 255.0).abs() < 0.02)
        && white[..3].iter().all(|value| (value - 235.0 / 255.0).abs() < 0.02);
    let full = |value: f32| if limited { (value * 255.0 - 16.0) / 219.0 } else { value };
    let off = |order: [usize; 3]| -> f32 {
        let wanted = (0..PATCHES).map(bar);
        let each = bars.iter().zip(wanted).flat_map(|(found, wanted)| {
            order.into_iter().zip(wanted).map(|(channel, wanted)| (full(found[channel]) - wanted).abs())
        });
        each.fold(0.0, f32::max)
    };
    let (straight, exchanged) = (off([0, 1, 2]), off([2, 1, 0]));
    let swapped = exchanged < straight;
    let greys: Vec<f32> = (0..COLUMNS).map(|column| full(view.cell(column as f32, 3.5, way)[1])).collect();
    let greys = judge_greys(&greys);
    // Bars are 0 or 1 in each component, where the curves that are known change nothing.
    let off_colours = greys != Greys::Unknown && straight.min(exchanged) >= CLOSE;
    let number = (0..COLUMNS)
        .fold(0u16, |word, column| word << 1 | u16::from(full(view.cell(column as f32, 7.0, way)[1]) > 0.5));
    let patches: Vec<[f32; 4]> = (0..PATCHES).map(|number| patch(number, 5.5)).collect();
    let alpha = if has_alpha { judge_alpha(&patches, greys, full, swapped) } else { AlphaFault::Right };
    Verdict { way, swapped, off_colours, limited, greys, alpha, number }
}

fn judge_greys(greys: &[f32]) -> Greys {
    let off = |curve: fn(f32) -> f32| {
        let wanted = (0..greys.len()).map(|step| curve(step as f32 / (greys.len() - 1) as f32));
        greys.iter().zip(wanted).map(|(found, wanted)| (found - wanted).abs()).fold(0.0, f32::max)
    };
    let known = [(off(|v| v), Greys::Right), (off(decoded), Greys::Linear), (off(coded), Greys::TwiceCoded)];
    match known.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((off, greys)) if off < CLOSE => greys,
        _ => Greys::Unknown,
    }
}

/// Whether colours stay the same while alpha goes, or go with it.
fn judge_alpha(patches: &[[f32; 4]], greys: Greys, full: impl Fn(f32) -> f32, swapped: bool) -> AlphaFault {
    let alphas = || patches.iter().map(|patch| patch[3]);
    if alphas().all(|alpha| alpha > 1.0 - CLOSE) {
        return AlphaFault::Lost;
    }
    if alphas().zip(0..).any(|(found, number)| (found - alpha(number)).abs() > CLOSE) {
        return AlphaFault::Unknown;
    }
    let curve: fn(f32) -> f32 = match greys {
        Greys::Linear => decoded,
        Greys::TwiceCoded => coded,
        Greys::Right | Greys::Unknown => |v| v,
    };
    let off = |wanted: &dyn Fn(f32, f32) -> f32| -> f32 {
        let error = |(patch, number): (&[f32; 4], u32)| -> f32 {
            let channels = if swapped { [2, 1, 0] } else { [0, 1, 2] };
            let each = channels.into_iter().zip(TINT);
            each.map(|(channel, tint)| (full(patch[channel]) - wanted(tint, alpha(number))).abs()).fold(0.0, f32::max)
        };
        patches.iter().zip(0..).map(error).fold(0.0, f32::max)
    };
    // Colours may be multiplied before the curve, or after it.
    let before = off(&|tint, alpha| curve(tint * alpha));
    let after = off(&|tint, alpha| curve(tint) * alpha);
    let straight = off(&|tint, _| curve(tint));
    match (straight < CLOSE, before.min(after) < CLOSE) {
        (true, _) => AlphaFault::Right,
        (false, true) => AlphaFault::Premultiplied,
        (false, false) => AlphaFault::Unknown,
    }
}

/// sRGB to linear light.
fn decoded(v: f32) -> f32 {
    if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
}

/// Linear light to sRGB.
fn coded(v: f32) -> f32 {
    if v <= 0.003_130_8 { v * 12.92 } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 }
}
