// SPDX-License-Identifier: MPL-2.0
//! Frames between wires and pictures: what must hold whatever the numbers are. The numbers are compared with others' in
//! `tests/pixels`.

use proptest::sample::select;

use super::*;

const UNTOUCHED: u8 = 0x5a;

/// A plane, and where its pixels are in it.
struct Whole {
    bytes: Vec<u8>,
    pitch: usize,
    size: PlaneSize,
}

impl Whole {
    fn new(size: PlaneSize, padding: usize, fill: impl FnMut() -> u8) -> Self {
        let pitch = size.row_bytes + padding;
        Self { bytes: std::iter::repeat_with(fill).take(pitch * size.rows).collect(), pitch, size }
    }

    fn row(&self, row: usize) -> &[u8] {
        &self.bytes[row * self.pitch..][..self.size.row_bytes]
    }

    /// `bytes` from `from` on, of `rows` from `row` on.
    fn part(&self, row: usize, rows: usize, from: usize, bytes: usize) -> Vec<u8> {
        let rows = row..(row + rows).min(self.size.rows);
        let end = (from + bytes).min(self.size.row_bytes);
        rows.flat_map(|row| &self.row(row)[from..end]).copied().collect()
    }
}

/// Converts whole planes.
fn convert(conversion: &Conversion, width: usize, height: usize, src: &[Whole], padding: usize) -> Vec<Whole> {
    let (_, wanted) = conversion.planes(width, height);
    let mut dst: Vec<_> = wanted.into_iter().flatten().map(|size| Whole::new(size, padding, || UNTOUCHED)).collect();
    let src: Vec<_> = src.iter().map(|plane| Plane { bytes: &plane.bytes, pitch: plane.pitch }).collect();
    let mut planes: Vec<_> =
        dst.iter_mut().map(|plane| PlaneMut { bytes: &mut plane.bytes, pitch: plane.pitch }).collect();
    FrameConverter::new(conversion, width, height).convert(&src, &mut planes).unwrap();
    dst
}

fn conversion() -> impl Strategy<Value = Conversion> {
    let matrices = select(vec![Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020]);
    let ranges = select(vec![Range::Limited, Range::Full]);
    let picture = (0usize..9, matrices, ranges).prop_map(|(code, matrix, range)| {
        // On the left, chroma is of its neighbours, too.
        let yuv = Yuv { matrix, range, site: ChromaSite::Middle };
        let (nv12, p010) = (Picture::Nv12(yuv), Picture::P010(yuv));
        use Picture::{Bgr, Bgra, Bgrx, Rgb, Rgb10A2, Rgba, Rgbx};
        [Rgba, Bgra, Rgbx, Bgrx, Rgb, Bgr, Rgb10A2, nv12, p010][code]
    });
    let wire = (select(WireSample::ALL.to_vec()), select(Components::ALL.to_vec()))
        .prop_map(|(sample, components)| Wire { sample, components });
    let gamuts = [Gamut::Passthrough, Gamut::Bt709ToBt2020];
    let options = (select(Alpha::ALL.to_vec()), select(Transfer::ALL.to_vec()), select(gamuts.to_vec()))
        .prop_map(|(alpha, transfer, gamut)| Options { alpha, transfer, gamut, ..Options::default() });
    (picture, wire, options, any::<bool>(), any::<bool>()).prop_map(|(picture, wire, options, flip, outward)| {
        let to_wire = Conversion::to_wire(picture, wire).ok().filter(|_| outward);
        to_wire.unwrap_or_else(|| Conversion::to_picture(wire, picture)).with(options).flipped(flip)
    })
}

/// Cases, few and small under Miri, and no file of failures.
fn config(cases: u32) -> ProptestConfig {
    let cases = if cfg!(miri) { 4 } else { cases };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

const WIDEST: usize = if cfg!(miri) { 20 } else { 600 };

proptest! {
    #![proptest_config(config(400))]

    /// So neither pitch nor tail nor vector nor piece makes a difference, and what stands between rows stays.
    #[test]
    fn each_two_by_two_pixels_become_what_they_become_by_themselves(
        conversion in conversion(),
        width in 1..WIDEST,
        height in 1usize..6,
        paddings in (0usize..9, 0usize..9),
        seed in any::<u64>(),
    ) {
        let mut numbers = Numbers(seed);
        let (wanted, _) = conversion.planes(width, height);
        let src: Vec<_> =
            wanted.into_iter().flatten().map(|size| Whole::new(size, paddings.0, || numbers.next() as u8)).collect();
        let dst = convert(&conversion, width, height, &src, paddings.1);
        for plane in &dst {
            for row in plane.bytes.chunks(plane.pitch) {
                prop_assert!(row[plane.size.row_bytes..].iter().all(|byte| *byte == UNTOUCHED));
            }
        }
        let step = if cfg!(miri) { 6 } else { 2 };
        for x in (0..width).step_by(step) {
            for y in (0..height).step_by(2) {
                let (columns, rows) = ((width - x).min(2), (height - y).min(2));
                let (small, expected) = conversion.planes(columns, rows);
                let turned = if conversion.flips() { height - y - rows } else { y };
                let (src_y, dst_y) = match conversion.direction() {
                    Direction::ToPicture => (turned, y),
                    Direction::ToWire => (y, turned),
                };
                let cut = |planes: &[Whole], y: usize, sizes: [Option<PlaneSize>; 2]| -> Vec<Vec<u8>> {
                    let sizes = planes.iter().zip(sizes.into_iter().flatten());
                    sizes.enumerate().map(|(i, (plane, size))| {
                        // Chroma has half as many rows, and its pairs are as wide as two pixels of luma.
                        let y = if i == 1 { y / 2 } else { y };
                        let bytes = plane.size.row_bytes / if i == 1 { width.div_ceil(2) * 2 } else { width };
                        plane.part(y, size.rows, x * bytes, size.row_bytes)
                    }).collect()
                };
                let alone: Vec<_> = cut(&src, src_y, small).into_iter().zip(small.into_iter().flatten())
                    .map(|(bytes, size)| Whole { bytes, pitch: size.row_bytes, size }).collect();
                let alone = convert(&conversion, columns, rows, &alone, 0);
                let found = cut(&dst, dst_y, expected);
                for (alone, found) in alone.iter().zip(found) {
                    let sample = match (conversion.direction(), conversion.wire().sample.plain()) {
                        (Direction::ToWire, Some(sample)) => sample,
                        _ => SampleType::U8,
                    };
                    prop_assert!(same(sample, &alone.bytes, &found), "{conversion:?}: {x}, {y}");
                }
            }
        }
    }
}

#[test]
fn frames_that_do_not_fit_are_refused_before_anything_is_written() {
    let wire = Wire { sample: WireSample::U8, components: Components::Rgba };
    let yuv = Yuv { matrix: Matrix::Bt709, range: Range::Limited, site: ChromaSite::Left };
    let mut converter = FrameConverter::new(&Conversion::to_picture(wire, Picture::Nv12(yuv)), 3, 3);
    let src = [1; 36];
    let mut convert = |src: &[u8], pitch: usize, luma: usize, chroma: usize, chroma_pitch: usize| {
        let (mut luma, mut chroma) = (vec![0; luma], vec![0; chroma]);
        let mut dst = [PlaneMut { bytes: &mut luma, pitch: 3 }, PlaneMut { bytes: &mut chroma, pitch: chroma_pitch }];
        let done = converter.convert(&[Plane { bytes: src, pitch }], &mut dst);
        assert_eq!(done.is_err(), luma.iter().chain(&chroma).all(|byte| *byte == 0));
        done
    };
    assert_eq!(convert(&src, 12, 9, 8, 4), Ok(()));
    let plane = |rows, row_bytes, pitch, len| Err(FrameError::Plane { rows, row_bytes, pitch, len });
    assert_eq!(convert(&src[1..], 12, 9, 8, 4), plane(3, 12, 12, 35));
    assert_eq!(convert(&src, 11, 9, 8, 4), plane(3, 12, 11, 36));
    assert_eq!(convert(&src, 12, 8, 8, 4), plane(3, 3, 3, 8));
    assert_eq!(convert(&src, 12, 9, 7, 4), plane(2, 4, 4, 7));
    assert_eq!(convert(&src, 12, 9, 8, usize::MAX), plane(2, 4, usize::MAX, 8));
    let mut dst = [0; 9];
    let only = converter.convert(&[Plane { bytes: &src, pitch: 12 }], &mut [PlaneMut { bytes: &mut dst, pitch: 3 }]);
    assert_eq!(only, Err(FrameError::Planes { found: 1, wanted: 2 }));
    let mut nothing = FrameConverter::new(&Conversion::to_picture(wire, Picture::Rgb), 0, 3);
    let none = nothing.convert(&[Plane { bytes: &src, pitch: 12 }], &mut [PlaneMut { bytes: &mut dst, pitch: 3 }]);
    assert_eq!(none, plane(3, 0, 12, 36));
}

#[test]
fn nothing_writes_bfloat16() {
    let wire = Wire { sample: WireSample::Bf16, components: Components::Rgba };
    assert_eq!(Conversion::to_wire(Picture::Rgba, wire), Err(ConversionError::Bf16));
}
