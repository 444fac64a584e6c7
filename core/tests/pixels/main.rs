// SPDX-License-Identifier: MPL-2.0
//! Frames between wires and pictures: the processor's numbers against numpy's, which knows the formulas only, against the
//! GPU's source, which a compiler for the processor takes as well, and against those of GStreamer's videoconvert.
#![cfg(target_os = "linux")]

mod bars;
mod cases;
mod programs;

use std::path::Path;
use std::process::Command;

use cases::{Case, exact, near, same, transferred};
use programs::{asked, folder};

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

fn all_same(cases: &[Case], theirs: &[Vec<u8>]) {
    assert!(cases.len() > 1000 && cases.len() == theirs.len());
    cases.iter().zip(theirs).for_each(|(case, theirs)| same(case, theirs));
}

#[test]
fn without_a_transfer_all_bits_are_those_of_numpy() {
    let cases = exact();
    all_same(&cases, &asked(numpy(), &folder("numpy-exact"), &cases));
}

#[test]
fn transfers_are_within_one_code_of_numpys() {
    let cases = transferred();
    let theirs = asked(numpy(), &folder("numpy-transfer"), &cases);
    cases.iter().zip(&theirs).for_each(|(case, theirs)| near(case, theirs));
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
    all_same(&cases, &asked(Command::new(program), &folder, &cases));
}
