// SPDX-License-Identifier: MPL-2.0
//! GStreamer is found, and the plugin put where it looks.

use super::*;

#[test]
fn gstreamer_is_found_without_a_path() {
    let folder = folder("nopath");
    let output = command(&folder, &["--json", "doctor"]).env("PATH", &folder).output().expect("tdlink starts");
    let (text, _) = told(&output);
    let found = text.lines().find(|line| line.contains("\"GStreamer\"")).unwrap_or_else(|| panic!("{text}"));
    assert!(found.contains("\"ok\"") && found.contains("/bin"), "{found}");
}

#[test]
fn setup_puts_the_plugin_where_gstreamer_looks_and_asks_for_it() {
    let folder = folder("setup");
    let set_up = || {
        let mut command = command(&folder, &["--json", "setup", "--plugin"]);
        command.arg(peer::plugin()).env_remove("GST_PLUGIN_PATH").env("HOME", &folder).env_remove("XDG_DATA_HOME");
        command.env("GST_REGISTRY", folder.join("registry.bin")).output().expect("tdlink starts")
    };
    // Twice: there may be one already.
    for _ in 0..2 {
        let output = set_up();
        let (text, code) = told(&output);
        assert_eq!(code, Some(0), "{text}");
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON value");
        let plugin = said["plugin"].as_str().expect("the plugin's file");
        assert!(Path::new(plugin).starts_with(&folder), "GStreamer found another one: {plugin}");
    }
}

#[test]
fn a_plugin_that_is_none_is_refused_and_not_left_behind() {
    let folder = folder("badsetup");
    let bad = folder.join("bad.so");
    std::fs::write(&bad, "no library").expect("a file");
    let mut command = command(&folder, &["setup", "--plugin", "bad.so"]);
    command.env_remove("GST_PLUGIN_PATH").env("HOME", &folder).env_remove("XDG_DATA_HOME");
    let output = command.env("GST_REGISTRY", folder.join("registry.bin")).output().expect("tdlink starts");
    let (text, code) = told(&output);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("GST_PLUGIN_PATH"), "{text}");
    let left = folder.join(".local/share/gstreamer-1.0/plugins").join("libgsttdlink.so");
    assert!(!left.exists(), "{} is left", left.display());
}

#[test]
fn the_demo_makes_a_film_and_reads_it_back() {
    let folder = folder("demo");
    let (text, code) = told(&tdlink(&folder, &["demo", "-d", "2"]));
    assert_eq!(code, Some(0), "{text}");
    let film = film::Film::decode(&folder.join("tdlink-demo.mp4"), (1280, 720));
    assert_eq!(film.len(), 120);
}
