// SPDX-License-Identifier: MPL-2.0
//! Each fault of the test card, injected into the bytes that another program holds, and named by `doctor`.

use std::fs;
use std::process::Command;

use super::list::shared_memory;
use super::name::Name;
use super::{Scratch, json, said, tdlink, testcard};

const WIDTH: usize = 320;
const HEIGHT: usize = 180;
const ROW: usize = WIDTH * 4;

/// The card's bytes as TouchDesigner would have them: RGBA, bottom row first.
fn card(label: &str) -> Vec<u8> {
    let name = Name::new(&format!("card-good-{label}"));
    let _card = testcard(&name, &["--width", "320", "--height", "180"]);
    let found = said(&["doctor", &name]);
    assert!(found.contains("as it should be"), "{found}");
    fs::read(name.path()).unwrap()
}

/// What doctor says about such bytes: names of the faults, and how to mend the first.
fn diagnosed(label: &str, bytes: &[u8], more: &[&str]) -> (Vec<String>, String) {
    let name = Name::new(&format!("card-{label}"));
    let _writer = shared_memory(&name, bytes);
    let (faults, code) = json(&[&["doctor", &name], more].concat());
    assert_eq!(code, if faults.iter().any(|fault| !fault["fault"].is_null()) { 3 } else { 0 }, "{faults:#?}");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("none").to_owned();
    let mend = faults.first().map(|fault| text(&fault["mend"])).unwrap_or_default();
    (faults.iter().map(|fault| text(&fault["fault"])).collect(), mend)
}

const SAID: [&str; 4] = ["--width", "320", "--height", "180"];

/// Every colour component through a curve; alpha stays.
fn curved(bytes: &[u8], curve: impl Fn(f64) -> f64) -> Vec<u8> {
    let each = |(at, byte): (usize, &u8)| {
        let value = f64::from(*byte) / 255.0;
        if at % 4 == 3 { *byte } else { (curve(value) * 255.0).round() as u8 }
    };
    bytes.iter().enumerate().map(each).collect()
}

fn decoded(v: f64) -> f64 {
    if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
}

fn coded(v: f64) -> f64 {
    if v <= 0.0031308 { v * 12.92 } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 }
}

fn upside_down(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks_exact(ROW).rev().flatten().copied().collect()
}

fn swapped(bytes: &[u8]) -> Vec<u8> {
    bytes.as_chunks::<4>().0.iter().flat_map(|[red, green, blue, alpha]| [*blue, *green, *red, *alpha]).collect()
}

fn green_for_blue(bytes: &[u8]) -> Vec<u8> {
    bytes.as_chunks::<4>().0.iter().flat_map(|[red, green, blue, alpha]| [*red, *blue, *green, *alpha]).collect()
}

fn without_colour(bytes: &[u8]) -> Vec<u8> {
    let each = |[red, green, blue, alpha]: &[u8; 4]| {
        let grey = ((2126 * u32::from(*red) + 7152 * u32::from(*green) + 722 * u32::from(*blue)) / 10_000) as u8;
        [grey, grey, grey, *alpha]
    };
    bytes.as_chunks::<4>().0.iter().flat_map(each).collect()
}

fn premultiplied(bytes: &[u8]) -> Vec<u8> {
    let times = |value: u8, alpha: u8| ((u32::from(value) * u32::from(alpha) + 127) / 255) as u8;
    let each = |[red, green, blue, alpha]: &[u8; 4]| {
        [times(*red, *alpha), times(*green, *alpha), times(*blue, *alpha), *alpha]
    };
    bytes.as_chunks::<4>().0.iter().flat_map(each).collect()
}

#[test]
fn each_fault_is_named_with_the_property_that_mends_it() {
    let good = card("faults");
    let limited = curved(&good, |v| (16.0 + 219.0 * v) / 255.0);
    let opaque: Vec<u8> = good.as_chunks::<4>().0.iter().flat_map(|[r, g, b, _]| [*r, *g, *b, 255]).collect();
    let mirrored: Vec<u8> =
        good.chunks_exact(ROW).flat_map(|row| row.as_chunks::<4>().0.iter().rev().flatten().copied()).collect();
    for (fault, bytes, mend) in [
        ("none", good.clone(), "none"),
        ("upside-down", upside_down(&good), "origin=top-left"),
        ("mirrored", mirrored, "Flip X"),
        ("red-blue-swapped", swapped(&good), "channel-order=bgra"),
        ("linear-as-srgb", curved(&good, decoded), "transfer=linear-to-srgb"),
        ("srgb-twice", curved(&good, coded), "transfer=srgb-to-linear"),
        ("premultiplied", premultiplied(&good), "alpha=premultiplied-to-straight"),
        ("limited-range", limited, "colorimetry=2:1:7:1"),
        ("alpha-lost", opaque, "RGBx"),
        ("colours", green_for_blue(&good), "colorimetry"),
        ("colours", without_colour(&good), "colorimetry"),
    ] {
        let (faults, how) = diagnosed(fault, &bytes, &SAID);
        assert_eq!(faults[0], fault, "{faults:?}");
        // What exchanges or takes colours out does so in the patches of alpha, too.
        assert!(faults.len() == 1 || fault == "colours", "{faults:?}");
        assert!(how.contains(mend), "{fault}: {how:?}");
    }
}

#[test]
fn faults_that_come_together_are_named_together() {
    let good = card("together");
    let both = upside_down(&swapped(&good));
    assert_eq!(diagnosed("two", &both, &SAID).0, ["upside-down", "red-blue-swapped"]);
    let dark = premultiplied(&curved(&good, decoded));
    assert_eq!(diagnosed("dark", &dark, &SAID).0, ["linear-as-srgb", "premultiplied"]);
    let limited = curved(&swapped(&good), |v| (16.0 + 219.0 * v) / 255.0);
    assert_eq!(diagnosed("limited", &limited, &SAID).0, ["red-blue-swapped", "limited-range"]);
}

#[test]
fn a_wrong_width_is_named_with_the_right_one() {
    let good = card("width");
    for wrong in ["312", "321", "640", "256"] {
        let height = good.len() / 4 / wrong.parse::<usize>().unwrap();
        let (faults, how) = diagnosed("sheared", &good, &["--width", wrong, "--height", &height.to_string()]);
        assert_eq!(faults, ["sheared"], "{wrong}");
        assert!(how.contains("width=320") && how.contains("height=180"), "{wrong}: {how:?}");
    }
    // Rows that a sender pads, as drivers like to.
    let padded: Vec<u8> = good.chunks_exact(ROW).flat_map(|row| row.iter().copied().chain([0; 64])).collect();
    let (faults, how) = diagnosed("padded", &padded, &SAID);
    assert_eq!(faults, ["sheared"]);
    assert!(how.contains("without padding") && how.contains("16 more"), "{how:?}");
}

#[test]
fn bytes_that_nobody_described_are_described() {
    let (faults, how) = diagnosed("untold", &card("untold"), &[]);
    assert_eq!(faults, ["geometry"]);
    assert!(how.contains("width=320 height=180 channels=4 sample-type=u8"), "{how:?}");
}

#[test]
fn what_is_no_card_is_not_taken_for_one() {
    let name = Name::new("card-noise");
    let noise: Vec<u8> = (0..ROW * HEIGHT).map(|at| (at * at / 7 + at) as u8).collect();
    let _writer = shared_memory(&name, &noise);
    assert_eq!(tdlink(&[&["doctor", &name], &SAID[..]].concat()).status.code(), Some(1));
}

#[test]
fn cards_of_every_depth_and_order_read_back() {
    for more in [
        &["--sample-type", "u16"][..],
        &["--sample-type", "f16", "--channel-order", "bgra"],
        &["--sample-type", "f32", "--origin", "top-left"],
        &["--channels", "3", "--slots", "3"],
    ] {
        let name = Name::new("card-depth");
        let _card = testcard(&name, &[&["--width", "333", "--height", "187"], more].concat());
        let found = said(&["doctor", &name]);
        assert!(found.contains("as it should be"), "{more:?}: {found}");
    }
}

#[test]
fn the_shader_has_the_cards_own_numbers() {
    let text = said(&["testcard", "--glsl"]);
    for wanted in ["TDOutputSwizzle", "45800u", "53607u", "vec4(1.0, 0.5, 0.25,", "vUV.s * 16.0"] {
        assert!(text.contains(wanted), "{wanted:?} is missing:\n{text}");
    }
}

/// What TouchDesigner puts in front of a pixel shader, as far as the card uses it.
const PRELUDE: &str = "\
#version 460 core
layout(location = 0) in vec3 vUV;
vec4 TDOutputSwizzle(vec4 color)
{
    return color;
}
";

/// By Khronos' reference compiler.
#[test]
fn the_shader_compiles_behind_what_touchdesigner_puts_in_front_of_it() {
    let file = Scratch::new("card.frag");
    // Vulkan, which TouchDesigner uses now, wants places for what TouchDesigner's own compiler places by itself.
    let text = said(&["testcard", "--glsl"]);
    std::fs::write(&file.0, format!("{PRELUDE}{text}")).unwrap();
    let check = || Command::new("glslangValidator").args(["-l", file.text()]).output();
    let compiled = check().expect("glslangValidator starts: `cargo xtask setup` installs it (Debian: glslang-tools)");
    assert!(compiled.status.success(), "{}\n{text}", String::from_utf8_lossy(&compiled.stdout));
    // The same compiler refuses what is wrong.
    std::fs::write(&file.0, format!("{PRELUDE}{}", text.replace("vec4 color;", "vec4 colour;"))).unwrap();
    assert!(!check().expect("it started before").status.success());
}
