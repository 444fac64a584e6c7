// SPDX-License-Identifier: MPL-2.0
//! Frames between wires and pictures: the processor's numbers against numpy's, which knows the formulas only, against the
//! GPU's source, which a compiler for the processor takes as well, and against those of GStreamer's videoconvert.
#![cfg(target_os = "linux")]

mod bars;
mod cases;

use std::path::Path;
use std::process::Command;

use cases::{Case, asked, exact, folder, transferred, written};
use tdlink_core::frame::SampleType;
use tdlink_core::pixels::Picture;

/// Of the system's packages, with numpy.
const PYTHON: &str = "/usr/bin/python3";

fn here(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pixels").join(file)
}

fn numpy() -> Command {
    let mut python = Command::new(PYTHON);
    python.arg("-B").arg(here("reference.py"));
    python
}

fn describe(case: &Case) -> String {
    let Case { conversion, width, height, src_pitch, dst_pitch, at, .. } = case;
    format!("{conversion:?}, {width}×{height}, pitches {src_pitch:?} {dst_pitch:?}, addresses {at:?}")
}

fn same(cases: &[Case], theirs: &[Vec<u8>]) {
    assert!(cases.len() > 1000);
    for (case, theirs) in cases.iter().zip(theirs) {
        let ours = case.converted();
        if ours != *theirs {
            let differ = |at: &usize| ours[*at] != theirs[*at];
            let at = (0..ours.len()).find(differ).unwrap();
            let number = (0..ours.len()).filter(differ).count();
            panic!("{}: {number} bytes differ, byte {at} is {}, not {}", describe(case), ours[at], theirs[at]);
        }
    }
}

/// Numbers that a destination holds, as far as pixels of `case` have any.
fn numbers(case: &Case, bytes: &[u8]) -> Vec<f32> {
    let pairs = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
    let words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    match (written(case), case.conversion.picture()) {
        (Some(SampleType::F32), _) => words.map(f32::from_bits).collect(),
        (Some(SampleType::F16), _) => pairs.map(|bits| half::f16::from_bits(bits).to_f32()).collect(),
        (Some(SampleType::U16), _) => pairs.map(f32::from).collect(),
        (Some(SampleType::U8), _) => bytes.iter().copied().map(f32::from).collect(),
        (None, Picture::P010(_)) => pairs.map(|bits| f32::from(bits >> 6)).collect(),
        (None, Picture::Rgb10A2) => {
            words.flat_map(|word| [0, 10, 20, 30].map(|shift| (word >> shift & 1023) as f32)).collect()
        }
        (None, _) => bytes.iter().copied().map(f32::from).collect(),
    }
}

#[test]
fn without_a_transfer_all_bits_are_those_of_numpy() {
    let cases = exact();
    let theirs = asked(numpy(), &folder("numpy-exact"), &cases);
    same(&cases, &theirs);
}

#[test]
fn transfers_are_within_one_code_of_numpys() {
    let cases = transferred();
    let theirs = asked(numpy(), &folder("numpy-transfer"), &cases);
    for (case, theirs) in cases.iter().zip(&theirs) {
        let ours = case.converted();
        let (ours, theirs) = (numbers(case, &ours), numbers(case, theirs));
        for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            let room = match written(case) {
                Some(SampleType::F32) => 2e-5 * theirs.abs().max(1.0),
                // One half further, or two that round apart.
                Some(SampleType::F16) => 1e-3 * theirs.abs() + 2e-5,
                _ => 1.0,
            };
            let near = (ours - theirs).abs() <= room || ours == theirs || (ours.is_nan() && theirs.is_nan());
            assert!(near, "{}: number {at} is {ours}, not {theirs}", describe(case));
        }
    }
}

/// The kernels read and write not one byte beside planes, either: the compiler is told to watch.
#[test]
fn the_source_of_the_kernels_gives_the_same_bits() {
    let folder = folder("kernels");
    let program = folder.join("kernels");
    let mut compile = Command::new("c++");
    compile.args(["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function"]);
    compile.args(["-ffp-contract=off", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
    compile.arg("-I").arg(here("host")).arg("-I").arg(here("../../src/cuda/kernels"));
    let status = compile.arg(here("kernels.cpp")).arg("-o").arg(&program).status().expect("c++, of the package g++");
    assert!(status.success(), "{compile:?}: {status}");
    let mut cases = exact();
    cases.extend(transferred());
    let theirs = asked(Command::new(program), &folder, &cases);
    same(&cases, &theirs);
}
