// SPDX-License-Identifier: MPL-2.0
//! `info` and `snapshot`.

use std::fs::File;
use std::io::BufReader;

use png::{BitDepth, ColorType, Decoder};

use super::list::shared_memory;
use super::name::Name;
use super::{Scratch, json, said, tdlink, testcard};

/// A decoded file: width, height, colour, depth, bytes.
struct Png {
    width: usize,
    height: usize,
    colour: ColorType,
    depth: BitDepth,
    bytes: Vec<u8>,
}

fn png(file: &Scratch) -> Png {
    let mut reader = Decoder::new(BufReader::new(File::open(&file.0).unwrap())).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    let (width, height) = (info.width as usize, info.height as usize);
    Png { width, height, colour: info.color_type, depth: info.bit_depth, bytes }
}

impl Png {
    /// The first samples of the pixel in the middle of a cell of the card.
    fn cell(&self, column: usize, row: usize) -> Vec<u32> {
        let (x, y) = ((2 * column + 1) * self.width / 32, (2 * row + 1) * self.height / 18);
        let size = if self.depth == BitDepth::Sixteen { 2 } else { 1 };
        let at = (y * self.width + x) * self.colour.samples() * size;
        let samples = self.bytes[at..at + self.colour.samples() * size].chunks(size);
        samples.map(|sample| sample.iter().fold(0, |all, byte| all << 8 | u32::from(*byte))).collect()
    }
}

#[test]
fn a_snapshot_is_upright_opaque_and_of_the_right_colours() {
    let name = Name::new("snapshot");
    let _card = testcard(&name, &["--width", "320", "--height", "180"]);
    let file = Scratch::new("upright.png");
    said(&["snapshot", &name, "-o", file.text()]);
    let found = png(&file);
    assert_eq!((found.width, found.height, found.colour, found.depth), (320, 180, ColorType::Rgb, BitDepth::Eight));
    // The bars are in the upper half, and red is the sixth of eight.
    assert_eq!(
        (found.cell(0, 1), found.cell(10, 1), found.cell(12, 1)),
        (vec![255; 3], vec![255, 0, 0], vec![0, 0, 255])
    );
    assert_eq!(found.cell(15, 5), vec![255, 128, 64], "alpha is 0 here, and the picture is opaque");

    said(&["snapshot", &name, "--alpha", "-o", file.text()]);
    let found = png(&file);
    assert_eq!(found.colour, ColorType::Rgba);
    assert_eq!((found.cell(15, 5), found.cell(0, 5)), (vec![255, 128, 64, 0], vec![255, 128, 64, 255]));
}

#[test]
fn deep_pixels_make_a_deep_file() {
    for sample in ["u16", "f16", "f32"] {
        let name = Name::new("snapshot-deep");
        let _card =
            testcard(&name, &["--width", "320", "--height", "180", "--sample-type", sample, "--channel-order", "bgra"]);
        let file = Scratch::new("deep.png");
        said(&["snapshot", &name, "-o", file.text()]);
        let found = png(&file);
        assert_eq!(found.depth, BitDepth::Sixteen, "{sample}");
        assert_eq!(found.cell(10, 1), vec![65535, 0, 0], "{sample}");
        let grey = found.cell(1, 3)[0];
        assert!(grey.abs_diff(65535 / 15) <= 2, "{sample}: {grey}, which 8 bits would not have");
    }
}

#[test]
fn raw_bytes_need_a_geometry_and_info_proposes_it() {
    let name = Name::new("info-raw");
    // A disc on a slope, 200 × 120, three components.
    let (width, height) = (200usize, 120usize);
    let pixel = |x: usize, y: usize| {
        let inside = x.abs_diff(80).pow(2) + y.abs_diff(70).pow(2) < 900;
        [(x / 2) as u8 + if inside { 90 } else { 0 }, (y + 40) as u8, 200 - x as u8 / 2]
    };
    let bytes: Vec<u8> = (0..width * height).flat_map(|at| pixel(at % width, at / width)).collect();
    let _writer = shared_memory(&name, &bytes);
    let file = Scratch::new("raw.png");
    let refused = tdlink(&["snapshot", &name, "-o", file.text()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--width"), "{refused:?}");

    let (info, _) = json(&["info", &name]);
    let best = &info[0]["proposals"][0];
    assert_eq!(
        (&best["width"], &best["height"], &best["channels"]),
        (&200.into(), &120.into(), &3.into()),
        "{info:#?}"
    );
    let text = said(&["info", &name]);
    assert!(text.contains("--width 200 --height 120 --channels 3 --sample-type u8"), "{text}");

    let geometry = ["--width", "200", "--height", "120", "--channels", "3", "--origin", "top-left"];
    said(&[&["snapshot", &name, "-o", file.text()], &geometry[..]].concat());
    assert_eq!(png(&file).bytes, bytes);
    let (_, code) = json(&["snapshot", &name, "-o", file.text(), "--width", "4000", "--height", "4000"]);
    assert_eq!(code, 2, "more than there is");
}

#[test]
fn info_reads_every_field_and_says_which_is_wrong() {
    let name = Name::new("info-control");
    let mut card = testcard(&name, &["--width", "160", "--height", "90"]);
    let (info, _) = json(&["info", &name]);
    let value = |wanted: &str| {
        let fields = info[0]["fields"].as_array().unwrap();
        fields.iter().find(|field| field["name"] == wanted).unwrap_or_else(|| panic!("{wanted}: {fields:#?}")).clone()
    };
    assert_eq!((&value("width")["value"], &value("height")["value"]), (&"160".into(), &"90".into()));
    assert_eq!((&value("sample type")["meaning"], &value("origin")["meaning"]), (&"u8".into(), &"bottom-left".into()));
    assert_eq!(value("pid")["value"], card.pid().to_string().as_str());
    assert!(info[0]["fields"].as_array().unwrap().iter().all(|field| field["wrong"].is_null()), "{info:#?}");

    card.kill();
    use std::os::unix::fs::FileExt;
    let control = std::fs::OpenOptions::new().write(true).open(name.path().with_extension("tdlink")).unwrap();
    control.write_all_at(&9u32.to_le_bytes(), 384 + 64).unwrap(); // the sample type
    let (info, code) = json(&["info", &name]);
    assert_eq!(code, 0);
    let field =
        info[0]["fields"].as_array().unwrap().iter().find(|field| field["name"] == "sample type").unwrap().clone();
    assert!(field["wrong"].as_str().unwrap().contains("u8"), "{field}");
    assert!(info[0]["trouble"][0].as_str().unwrap().contains("sample type is 9"), "{info:#?}");
    // It is ours no longer as far as anybody can tell, so that nothing removes it.
    let (fates, _) = json(&["clean", "--force", &name]);
    assert_eq!(fates[0]["outcome"], "kept", "{fates:#?}");
    control.write_all_at(&1u32.to_le_bytes(), 384 + 64).unwrap();
    json(&["clean", &name]);
}

#[test]
fn a_name_with_a_typo_finds_the_one_that_was_meant() {
    let name = Name::new("typo-buffer");
    let _card = testcard(&name, &["--width", "160", "--height", "90"]);
    let typed = name.replace("buffer", "bufer");
    let output = tdlink(&["snapshot", &typed, "-o", "x.png"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("did you mean {:?}", &*name)), "{output:?}");
}

#[test]
fn the_pipeline_that_does_the_same_is_quoted_for_the_shell() {
    let name = Name::new("print>>x");
    let _card = testcard(&name, &["--width", "160", "--height", "90"]);
    let line = said(&["snapshot", &name, "-o", "a b.png", "--print"]);
    let expected = format!(
        "gst-launch-1.0 -v tdshmsrc 'shm-name={}' ! videoconvert ! pngenc snapshot=true ! filesink 'location=\"a b.png\"'\n",
        &*name
    );
    // In front of it stands where the plugin lies, if it stands beside the tool.
    assert!(line.ends_with(&expected), "{line:?}, not {expected:?}");
}
