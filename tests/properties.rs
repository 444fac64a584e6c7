// SPDX-License-Identifier: MPL-2.0
//! What a user sets and reads: properties, their defaults and errors, URIs, gst-inspect-1.0.
#![cfg(any(target_os = "linux", windows))]

mod common;

use std::process::Command;
use std::time::Duration;

use common::frames;
#[cfg(target_os = "linux")]
use common::machine::is_root_else_say;
use common::name::Name;
use common::peer::{Peer, load_plugin};
use common::run::Run;
use common::{PATIENCE, PROMPT, poll};
use gst::glib;
use gst::prelude::*;

/// Property, and its default as gst-inspect-1.0 spells it (none where there is no text for it).
const SINK: &[(&str, Option<&str>)] = &[
    ("shm-name", None),
    ("protocol", Some("raw")),
    ("origin", Some("auto")),
    ("sample-type", Some("auto")),
    ("channels", Some("0")),
    ("channel-order", Some("auto")),
    ("takeover", Some("false")),
    ("perms", Some("384")),
    ("allow-other-user", Some("false")),
    ("stats", None),
];
const SOURCE: &[(&str, Option<&str>)] = &[
    ("shm-name", None),
    ("protocol", Some("auto")),
    ("width", Some("0")),
    ("height", Some("0")),
    ("channels", Some("0")),
    ("sample-type", Some("u8")),
    ("channel-order", Some("rgba")),
    ("offset", Some("0")),
    ("change-detection", Some("none")),
    ("skip-unchanged", Some("false")),
    ("origin", Some("auto")),
    ("framerate", Some("0/1")),
    ("pacing", Some("auto")),
    ("keepalive", Some("500")),
    ("while-waiting", Some("nothing")),
    ("timestamp-mode", Some("auto")),
    ("connection-timeout", Some("0")),
    ("on-disconnect", Some("wait")),
    ("stall-timeout", Some("0")),
    ("alpha", Some("passthrough")),
    ("transfer", Some("passthrough")),
    ("reference-white", Some("203")),
    ("colorimetry", None),
    ("connected", Some("false")),
    ("stats", None),
];
/// Enum property and its values.
const ENUMS: &[(&str, &str, &[&str])] = &[
    ("tdshmsink", "origin", &["auto", "bottom-left", "top-left"]),
    ("tdshmsink", "sample-type", &["auto", "u8", "u16", "f16", "f32"]),
    ("tdshmsink", "channel-order", &["auto", "rgba", "bgra"]),
    ("tdshmsrc", "sample-type", &["u8", "u16", "f16", "f32"]),
    ("tdshmsrc", "channel-order", &["rgba", "bgra"]),
    ("tdshmsrc", "origin", &["auto", "bottom-left", "top-left"]),
    ("tdshmsrc", "change-detection", &["none", "checksum", "crc32", "md5"]),
    ("tdshmsrc", "pacing", &["auto", "as-produced", "constant"]),
    ("tdshmsrc", "while-waiting", &["nothing", "black"]),
    ("tdshmsrc", "timestamp-mode", &["auto", "producer", "arrival", "count"]),
    ("tdshmsrc", "on-disconnect", &["wait", "eos", "error"]),
    ("tdshmsrc", "alpha", &["passthrough", "opaque", "premultiplied-to-straight", "straight-to-premultiplied"]),
    ("tdshmsrc", "transfer", &["passthrough", "linear-to-srgb", "srgb-to-linear", "linear-to-pq", "linear-to-hlg"]),
];

fn make(factory: &str) -> gst::Element {
    common::init();
    gst::ElementFactory::make(factory).build().unwrap_or_else(|error| panic!("{factory}: {error}"))
}

/// `value` as text, without the quotes of a string.
fn text(value: &glib::Value) -> String {
    let text = value.serialize().map(|text| text.to_string()).unwrap_or_default();
    text.trim_matches('"').to_owned()
}

#[test]
fn every_property_stands_in_the_contract_with_its_default_and_explains_itself() {
    for (factory, wanted) in [("tdshmsink", SINK), ("tdshmsrc", SOURCE)] {
        let element = make(factory);
        for (property, default) in wanted {
            let spec = element.find_property(property).unwrap_or_else(|| panic!("{factory} has {property}"));
            let Some(default) = default else { continue };
            assert_eq!(text(spec.default_value()), *default, "default of {factory} {property}");
            assert_eq!(text(&element.property_value(property)), *default, "{factory} {property} of a new element");
        }
        for spec in element.list_properties().iter().filter(|spec| spec.owner_type() == element.type_()) {
            let blurb = spec.blurb().unwrap_or_default();
            assert!(!spec.nick().is_empty() && spec.nick() != spec.name(), "{factory} {}: nick", spec.name());
            assert!(blurb.len() >= 12, "{factory} {}: '{blurb}' explains nothing", spec.name());
        }
    }
}

#[test]
fn enums_have_exactly_the_values_of_the_contract() {
    for (factory, property, wanted) in ENUMS {
        let element = make(factory);
        let spec = element.find_property(property).unwrap_or_else(|| panic!("{factory} has {property}"));
        let class = glib::EnumClass::with_type(spec.value_type()).expect("it is an enum");
        let nicks: Vec<_> = class.values().iter().map(|value| value.nick().to_owned()).collect();
        assert_eq!(nicks, *wanted, "{factory} {property}");
        for value in class.values() {
            assert!(value.name().len() >= 4, "{factory} {property} {}: '{}'", value.nick(), value.name());
        }
    }
}

#[test]
fn ranges_are_those_of_the_contract() {
    let source = make("tdshmsrc");
    let bounds = |property| {
        let spec = source.find_property(property).expect("it has the property");
        let as_int = spec.downcast_ref::<glib::ParamSpecInt>();
        let as_int = as_int.map(|spec| (i64::from(spec.minimum()), i64::from(spec.maximum())));
        let as_uint = spec.downcast_ref::<glib::ParamSpecUInt>();
        let as_uint = as_uint.map(|spec| (i64::from(spec.minimum()), i64::from(spec.maximum())));
        as_int.or(as_uint).unwrap_or_else(|| panic!("{property} is a number"))
    };
    assert_eq!(bounds("channels"), (0, 4));
    assert_eq!(bounds("width").0, 0);
    assert_eq!(bounds("height").0, 0);
}

#[test]
fn the_elements_are_what_they_say() {
    for (factory, class, pad) in [("tdshmsink", "Sink/Video", "sink"), ("tdshmsrc", "Source/Video", "src")] {
        let element = make(factory);
        let factory = element.factory().expect("it was made by one");
        assert_eq!(factory.metadata("klass"), Some(class));
        assert_eq!(factory.rank(), gst::Rank::NONE);
        let caps = element.static_pad(pad).expect("it has the pad").pad_template_caps();
        for format in ["RGBA", "BGRA", "RGBx", "BGRx", "RGB", "BGR", "GRAY8", "RGBA64_LE", "GRAY16_LE"] {
            let one = gst::Caps::builder("video/x-raw").field("format", format).build();
            assert!(caps.can_intersect(&one), "{} takes {format}", factory.name());
        }
    }
    let sink = make("tdshmsink");
    let defaults = ["sync", "max-lateness", "qos", "processing-deadline", "enable-last-sample"];
    let found = defaults.map(|property| text(&sink.property_value(property)));
    assert_eq!(found, ["true", "-1", "false", "0", "false"], "{defaults:?}");
}

#[test]
fn gst_inspect_shows_both_elements_complete() {
    for (factory, wanted, signal) in [("tdshmsink", SINK, None), ("tdshmsrc", SOURCE, Some("image-changed"))] {
        let output = Command::new(common::peer::INSPECT).arg(load_plugin()).arg(factory).output().expect("it runs");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
        let properties = wanted.iter().map(|(property, _)| *property);
        for word in properties.chain(signal).chain(["Long-name", "Description", "Author", "Pad Templates"]) {
            assert!(shown.contains(word), "{word} is in:\n{shown}");
        }
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "nothing to complain about");
    }
}

/// Runs until the element refuses, and asserts that the error names all of `words`.
fn assert_refused(pipeline: &str, words: &[&str]) {
    let run = Run::playing(pipeline);
    let error = run.wait_error(PATIENCE);
    for word in words {
        assert!(error.contains(word), "{pipeline}\nthe error names '{word}': {error}");
    }
    assert!(!error.to_lowercase().contains("panic"), "{pipeline}\n{error}");
    run.stop();
}

const PICTURES: &str = "videotestsrc ! video/x-raw,format=RGBA,width=16,height=16 ! tdshmsink";
const GEOMETRY: &str = "protocol=raw width=16 height=16 channels=4";

#[test]
fn a_missing_name_is_named() {
    assert_refused(PICTURES, &["shm-name"]);
    assert_refused(&format!("tdshmsrc {GEOMETRY} ! fakesink"), &["shm-name"]);
    assert_refused(&format!("{PICTURES} shm-name=\"\""), &["shm-name"]);
    assert_refused(&format!("tdshmsrc {GEOMETRY} shm-name=\"\" ! fakesink"), &["shm-name"]);
}

#[test]
fn a_wrong_name_is_refused_with_what_would_be_right() {
    let long = "n".repeat(201);
    for (name, rule) in
        [("a/b", "/"), ("\"\\\\/a\"", "/"), (".hidden", "."), ("cam1.tdlink", ".tdlink"), (&*long, "200")]
    {
        assert_refused(&format!("{PICTURES} shm-name={name}"), &["shm-name", name.trim_matches(['"', '\\']), rule]);
        let source = format!("tdshmsrc {GEOMETRY} shm-name={name} ! fakesink");
        assert_refused(&source, &["shm-name", name.trim_matches(['"', '\\']), rule]);
    }
}

#[test]
fn the_longest_name_works() {
    let name = Name::new("long");
    let long = format!("{name}{}", "n".repeat(200 - name.len()));
    let run = Run::playing(&format!("{PICTURES} shm-name={long}"));
    assert_eq!(run.wait_message("tdlink-published").get::<String>("name").as_deref(), Ok(&*long));
    run.stop();
}

#[test]
fn a_source_without_geometry_says_which_property_is_missing() {
    let name = Name::new("nogeom");
    let mut writer = Peer::python("writer.py");
    writer.ask(&format!("create {name} 1024"));
    for (given, missing) in [("", "width"), ("width=16", "height"), ("height=16 channels=4", "width")] {
        let run = Run::playing(&format!("tdshmsrc shm-name={name} protocol=raw {given} ! fakesink"));
        poll(&format!("a message that names {missing}, given '{given}'"), PATIENCE, || {
            let told = run.history().iter().any(|message| message.contains(missing));
            told.then_some(())
        });
        run.stop();
    }
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn a_segment_of_another_size_is_refused_with_both_numbers() {
    let name = Name::new("wrong");
    let mut writer = Peer::python("writer.py");
    writer.ask(&format!("create {name} 1000"));
    // Windows shows whole pages.
    let (size, has, needs) = if cfg!(windows) { (64, "4096", "16384") } else { (16, "1000", "1024") };
    let source = format!("tdshmsrc shm-name={name} width={size} height={size} channels=4");
    assert_refused(&format!("{source} ! fakesink"), &[&name, has, needs]);
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn a_larger_segment_is_read_from_its_start_or_refused_with_both_numbers() {
    let name = Name::new("larger");
    let mut writer = Peer::python("writer.py");
    writer.ask(&format!("create {name} 8192"));
    writer.ask(&format!("fill {name} 77"));
    let run = Run::new(&format!("tdshmsrc shm-name={name} {GEOMETRY} ! fakesink name=out"));
    let recorder = common::recorder::Recorder::on(&run.element("out"), "sink");
    run.play();
    poll("a frame or an error", PATIENCE, || {
        let refused = run.sayings().iter().any(|said| said.contains("8192") && said.contains("1024"));
        let frames = recorder.pictures();
        assert!(frames.iter().all(|frame| frame.bytes == [77; 1024]), "the first bytes are the frame");
        (refused || !frames.is_empty()).then_some(())
    });
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn a_foreign_header_is_skipped() {
    let name = Name::new("offset");
    let mut writer = Peer::python("writer.py");
    writer.ask(&format!("create {name} {}", 40 + 1024));
    writer.ask(&format!("fill {name} 9"));
    for at in 0..40 {
        writer.ask(&format!("poke {name} {at} 200"));
    }
    writer.ask(&format!("poke {name} 40 123"));
    let source = format!("tdshmsrc shm-name={name} {GEOMETRY} offset=40 origin=top-left");
    let run = Run::playing(&format!("{source} ! video/x-raw,format=RGBA ! appsink name=out"));
    let (frame, _) = frames::pull(&run, "out");
    assert_eq!((frame[0], &frame[1..]), (123, &[9; 1023][..]));
    run.stop();
    // Windows shows whole pages.
    let (offset, has, needs) = if cfg!(windows) { (4000, "4096", "5024") } else { (41, "1064", "1065") };
    assert_refused(&format!("tdshmsrc shm-name={name} {GEOMETRY} offset={offset} ! fakesink"), &[has, needs]);
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn what_the_elements_cannot_do_they_refuse() {
    let name = Name::new("cannot");
    let source = format!("tdshmsrc shm-name={name} width=16 height=16 channels=4");
    assert_refused(&format!("{source} colorimetry=nonsense ! fakesink"), &["colorimetry", "nonsense"]);
}

#[test]
fn colour_is_refused_where_downstream_takes_only_grey() {
    let name = Name::new("grey");
    let mut writer = Peer::python("writer.py");
    writer.ask(&format!("create {name} 1024"));
    let source = format!("tdshmsrc shm-name={name} {GEOMETRY}");
    assert_refused(&format!("{source} ! video/x-raw,format=GRAY8 ! fakesink"), &["GRAY8", "videoconvert"]);
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn a_geometry_beyond_all_memory_is_an_error_and_no_crash() {
    let name = Name::new("huge");
    let mut writer = Peer::python("writer.py");
    writer.ask(&format!("create {name} 64"));
    let run = Run::new(&format!("tdshmsrc name=s shm-name={name} protocol=raw channels=4 sample-type=f32 ! fakesink"));
    let source = run.element("s");
    for property in ["width", "height"] {
        let spec = source.find_property(property).expect("it has the property");
        let most = spec.downcast_ref::<glib::ParamSpecInt>().expect("it is an int").maximum();
        source.set_property(property, most);
    }
    source.set_property("offset", u64::MAX);
    run.play();
    run.wait_error(PATIENCE);
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn the_connection_timeout_says_what_was_looked_for_and_what_lives_nearby() {
    let (name, other) = (Name::new("look"), Name::new("zzz"));
    let mut writer = Peer::python("writer.py");
    writer.ask(&format!("create {name}1 1024"));
    writer.ask(&format!("create {other} 1024"));
    let run = Run::playing(&format!("tdshmsrc shm-name={name}l {GEOMETRY} connection-timeout=1 ! fakesink"));
    run.wait_message("tdlink-waiting");
    let error = run.wait_error(Duration::from_secs(4));
    let nearest = error.find(&format!("{name}1")).unwrap_or_else(|| panic!("the nearest live name is in: {error}"));
    assert!(error.contains(&format!("{name}l")), "what was looked for is in: {error}");
    assert!(error.find(&*other).is_none_or(|at| nearest < at), "the nearest name comes first: {error}");
    run.stop();
    writer.ask(&format!("unlink {name}1"));
    writer.ask(&format!("unlink {other}"));
}

#[test]
fn a_uri_makes_a_source_that_is_ready_to_play() {
    common::init();
    let name = Name::new("uri");
    let spaced = format!("{name} ünd #1");
    let encoded = format!("{name}%20%C3%BCnd%20%231");
    let uri =
        format!("tdshm://{encoded}?width=17&height=5&channels=3&channel-order=bgra&sample-type=f16&origin=top-left");
    let source = gst::Element::make_from_uri(gst::URIType::Src, &uri, Some("s")).expect("the URI is known");
    assert_eq!(source.factory().expect("it has one").name(), "tdshmsrc");
    assert_eq!(source.property::<String>("shm-name"), spaced);
    let found = ["width", "height", "channels", "channel-order", "sample-type", "origin"]
        .map(|property| text(&source.property_value(property)));
    assert_eq!(found, ["17", "5", "3", "bgra", "f16", "top-left"]);

    let handler = source.dynamic_cast_ref::<gst::URIHandler>().expect("it handles URIs");
    let again = handler.uri().expect("it has a URI");
    let twin = gst::Element::make_from_uri(gst::URIType::Src, &again, None).expect("its own URI is one");
    assert_eq!(twin.property::<String>("shm-name"), spaced, "{again}");
    for property in ["width", "height", "channels", "channel-order", "sample-type", "origin"] {
        assert_eq!(text(&twin.property_value(property)), text(&source.property_value(property)), "{again}");
    }
    for (wrong, word) in [("width=wide", "width"), ("colour=red", "colour"), ("origin=middle", "origin")] {
        let uri = format!("tdshm://{encoded}?{wrong}");
        let error = gst::Element::make_from_uri(gst::URIType::Src, &uri, None).expect_err("no such parameter");
        assert!(error.message().contains(word), "{error}");
    }
}

#[test]
fn a_uri_plays_through_uridecodebin() {
    let name = Name::new("play");
    let mut writer = Peer::python("writer.py");
    writer.ask(&format!("create {name} {}", 16 * 16 * 4));
    writer.ask(&format!("fill {name} 50"));
    let uri = format!("tdshm://{name}?width=16&height=16&channels=4");
    let caps = "video/x-raw,format=RGBA";
    let run = Run::playing(&format!("uridecodebin uri=\"{uri}\" ! videoconvert ! {caps} ! appsink name=out"));
    assert!(frames::pull(&run, "out").0.iter().all(|byte| *byte == 50));
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[cfg(target_os = "linux")] // modes and owners of files
#[test]
fn permissions_are_what_was_asked_for_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let name = Name::new("perms");
    for (option, mode) in [("", 0o600), ("perms=438", 0o666), ("perms=416", 0o640)] {
        let run = Run::playing(&format!("{PICTURES} shm-name={name} {option}"));
        run.wait_message("tdlink-published");
        let found = name.path().metadata().expect("it is published").permissions().mode() & 0o777;
        assert_eq!(found, mode, "{found:o}, expected {mode:o}");
        run.stop();
    }
}

#[cfg(target_os = "linux")] // modes and owners of files
#[test]
fn another_users_segment_is_refused_and_used_only_when_allowed() {
    if !is_root_else_say("a segment of another user") {
        return;
    }
    let name = Name::new("user");
    let mut writer = Peer::python("writer.py");
    writer.ask(&format!("create {name} {}", 16 * 16 * 4));
    std::os::unix::fs::chown(name.path(), Some(65534), None).expect("root may");
    let sink = format!("{PICTURES} shm-name={name}");
    assert_refused(&sink, &[&name, "65534", "allow-other-user"]);
    let run = Run::playing(&format!("{sink} allow-other-user=true"));
    run.wait_message("tdlink-published");
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn a_refused_element_works_once_it_is_set_right() {
    let name = Name::new("again");
    let run = Run::playing(&PICTURES.replace("tdshmsink", "tdshmsink name=s"));
    run.wait_error(PATIENCE);
    run.stop();
    run.element("s").set_property("shm-name", &*name);
    run.play();
    run.wait_message("tdlink-published");
    common::prompt("the change to NULL", PROMPT, || run.stop());
}
