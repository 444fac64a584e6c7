// SPDX-License-Identifier: MPL-2.0
//! Cases for other programs, and their results.

use std::path::{Path, PathBuf};
use std::process::Command;

use tdlink_core::pixels::Direction;

use crate::cases::Case;

/// The case in the words that other programs read.
fn write(case: &Case, out: &mut Vec<u8>) {
    let (conversion, options) = (&case.conversion, case.conversion.options());
    let yuv = conversion.picture().yuv();
    let src = [0, 1].map(|plane| case.src.get(plane).map_or(0, Vec::len) as u32);
    let dst = case.dst_lengths().map(|length| length as u32);
    let words = [
        u32::from(conversion.direction() == Direction::ToWire),
        conversion.flips().into(),
        conversion.wire().sample as u32,
        conversion.wire().components as u32,
        conversion.picture().code(),
        options.alpha as u32,
        options.transfer as u32,
        options.reference_white.to_bits(),
        options.gamut as u32,
        yuv.map_or(1, |yuv| yuv.matrix as u32),
        yuv.map_or(0, |yuv| yuv.range as u32),
        yuv.map_or(0, |yuv| yuv.site as u32),
        case.width as u32,
        case.height as u32,
        case.src_pitch[0] as u32,
        case.src_pitch[1] as u32,
        case.dst_pitch[0] as u32,
        case.dst_pitch[1] as u32,
        case.at[0] as u32,
        case.at[1] as u32,
        src[0],
        src[1],
        dst[0],
        dst[1],
    ];
    out.extend(words.into_iter().flat_map(u32::to_le_bytes));
    out.extend(case.src.iter().flatten());
}

/// A folder for the files of one test.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pixels-{name}"));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// What another program makes of the cases.
pub fn asked(mut program: Command, folder: &Path, cases: &[Case]) -> Vec<Vec<u8>> {
    let (given, results) = (folder.join("cases"), folder.join("results"));
    let mut bytes = Vec::new();
    cases.iter().for_each(|case| write(case, &mut bytes));
    std::fs::write(&given, bytes).unwrap();
    let status = program.arg(&given).arg(&results).status().unwrap();
    assert!(status.success(), "{program:?}: {status}");
    let bytes = std::fs::read(results).unwrap();
    let mut rest = &bytes[..];
    let split = |case: &Case| {
        let (first, others) = rest.split_at(case.dst_lengths().iter().sum());
        rest = others;
        first.to_vec()
    };
    let all = cases.iter().map(split).collect();
    assert!(rest.is_empty(), "{} bytes too many", rest.len());
    all
}
