// SPDX-License-Identifier: MPL-2.0
//! Launch lines of the documentation, run in a small size, with stand-ins for what has no place in a test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gst::prelude::*;

use crate::common::folder::Folder;
use crate::common::name::Name;
use crate::common::peer::Peer;
use crate::common::run::Run;
use crate::common::{PATIENCE, poll};

/// Elements whose other side no test has.
const WANTS: [(&str, &str); 12] = [
    ("rtmp2sink", "it needs a server"),
    ("rtspclientsink", "it needs a server"),
    ("whipclientsink", "it needs a server"),
    ("ndisink", "it needs NDI"),
    ("srtsrc", "it needs a sender"),
    ("rtspsrc", "it needs a camera"),
    ("v4l2src", "it needs a camera"),
    ("v4l2sink", "it needs a virtual camera"),
    ("ximagesrc", "it needs a screen"),
    ("wasapi2src", "it needs Windows"),
    ("tdcudaipcsrc", "it needs a CUDA driver; see the tests of these elements"),
    ("tdcudaipcsink", "it needs a CUDA driver; see the tests of these elements"),
];
/// What stands in for what a test has not.
const STAND_INS: [(&str, &str); 3] = [
    ("autovideosink", "fakevideosink"),
    ("autoaudiosrc", "audiotestsrc is-live=true"),
    ("uri=file:///tmp/film.mp4", "uri=FILM"),
];
/// Pictures to see before a line counts as running.
const ENOUGH: u64 = 20;

/// The pipeline of a line; or the elements that there are not.
pub fn parse(pipeline: &[String]) -> Result<gst::Bin, Vec<String>> {
    let words: Vec<&str> = pipeline.iter().map(String::as_str).collect();
    let mut context = gst::ParseContext::new();
    match gst::parse::launchv_full(&words, Some(&mut context), gst::ParseFlags::FATAL_ERRORS) {
        Ok(element) => Ok(element.downcast().expect("several elements are a bin")),
        Err(error) => {
            let lacking: Vec<String> = context.missing_elements().iter().map(ToString::to_string).collect();
            assert!(!lacking.is_empty(), "{}: {error}", words.join(" "));
            Err(lacking)
        }
    }
}

/// Why a line cannot be run here, if it cannot.
pub fn hinders(pipeline: &[String]) -> Option<String> {
    let wants = WANTS.iter().find(|(element, _)| pipeline.iter().any(|word| word == element));
    let calls = pipeline.iter().any(|word| word.ends_with("mode=caller")).then_some("it needs a server");
    let why = wants.map(|(_, why)| *why).or(calls).map(ToOwned::to_owned);
    why.or_else(|| Some(format!("there is no {}", parse(pipeline).err()?.join(", "))))
}

/// A tenth of the size, which two cores encode beside other tests.
fn small(word: &str) -> String {
    let mut word = word.replace("1920", "192").replace("1080", "108");
    word = word.replace("1280", "160").replace("720", "90");
    for (real, stand_in) in STAND_INS {
        if word == real {
            word = stand_in.to_owned();
        }
    }
    word
}

/// Runs a line until pictures have gone through it, then ends it as Ctrl-C with `-e` does, and looks at its files.
///
/// # Errors
/// Why it cannot run here.
pub fn run(pipeline: &[String], number: usize) -> Result<(), String> {
    if let Some(why) = hinders(pipeline) {
        return Err(why);
    }
    let folder = Folder::new(&format!("readme-{number}"));
    let mut names: Vec<(String, Name)> = Vec::new();
    let mut line: Vec<String> = Vec::new();
    for word in pipeline.iter().flat_map(|word| small(word).split(' ').map(ToOwned::to_owned).collect::<Vec<_>>()) {
        let (key, value) = word.split_once('=').unwrap_or((&word, ""));
        // In a URI, too.
        let named = match key {
            "shm-name" => Some(value),
            "uri" => value.strip_prefix("tdshm://").and_then(|rest| rest.split('?').next()),
            _ => None,
        };
        if let Some(named) = named {
            if !names.iter().any(|(known, _)| known == named) {
                names.push((named.to_owned(), Name::new(&format!("readme-{number}-{}", names.len()))));
            }
            let (_, name) = names.iter().find(|(known, _)| known == named).expect("it was just put there");
            line.push(word.replacen(named, name, 1));
        } else if ["location", "playlist-location"].contains(&key) && !value.contains("://") {
            line.push(format!("{key}={}", folder.join(value).display()));
        } else if word == "uri=FILM" {
            line.push(format!("uri=file://{}", film(&folder).display()));
        } else {
            line.push(word);
        }
    }
    let reads = line.iter().any(|word| word == "tdshmsrc" || word.starts_with("uri=tdshm://"));
    let touch = if line.iter().any(|word| word == "protocol=touch") { "protocol=touch" } else { "" };
    let senders: Vec<Peer> = names.iter().filter(|_| reads).map(|(_, name)| sender(name, touch)).collect();

    let text = line.join(" ");
    let run = Run::playing_words(&line);
    let moving = || {
        let elements: Vec<gst::Element> = run.pipeline().iterate_recurse().into_iter().flatten().collect();
        let ours = elements
            .iter()
            .filter(|element| element.factory().is_some_and(|factory| factory.name().starts_with("tdshm")));
        let frames = ours.map(|element| element.property::<gst::Structure>("stats").get::<u64>("frames"));
        let mut frames = frames.map(|frames| frames.unwrap_or_else(|error| panic!("{text}: {error}"))).peekable();
        frames.peek()?;
        // One picture a second is slow, and a film may be short.
        let enough = if text.contains("framerate=1/1") { 2 } else { ENOUGH };
        frames.all(|frames| frames >= enough).then_some(())
    };
    poll(&text, PATIENCE * 2, || {
        run.assert_no_error();
        moving()
    });
    run.pipeline().send_event(gst::event::Eos::new());
    run.wait_eos(PATIENCE);
    run.stop();
    for word in line.iter().filter(|word| word.contains(&*folder.to_string_lossy()) && word.contains("location=")) {
        let path = word.split_once('=').expect("it has a value").1;
        let files = written(Path::new(path));
        // Of a series the last one may be a beginning.
        let (last, whole) = files.split_last().unwrap_or_else(|| panic!("{text}: {path} was not written"));
        let whole = if whole.is_empty() { std::slice::from_ref(last) } else { whole };
        for file in whole {
            assert!(has_picture(file, &folder), "{text}: no picture is in {}", file.display());
        }
    }
    for mut sender in senders {
        sender.interrupt();
        sender.wait(PATIENCE);
    }
    Ok(())
}

/// The file, or those of a numbered series in its order, that have something in them.
fn written(path: &Path) -> Vec<PathBuf> {
    let (folder, file) = (path.parent().expect("it is in a folder"), path.file_name().expect("it has a name"));
    let file = file.to_string_lossy();
    let (front, back) = file.split_once("%05d").unwrap_or((&file, ""));
    let files = std::fs::read_dir(folder).expect("the folder is there").flatten();
    let files = files.filter(|found| found.metadata().is_ok_and(|found| found.len() > 0));
    let files = files.filter(|found| {
        let found = found.file_name().to_string_lossy().into_owned();
        found.starts_with(front) && found.ends_with(back)
    });
    let mut files: Vec<PathBuf> = files.map(|found| found.path()).collect();
    files.sort();
    files
}

/// Whether a file decodes, and its last picture is not of one grey all over. A playlist names files, which are looked at.
fn has_picture(file: &Path, folder: &Folder) -> bool {
    if file.extension().is_some_and(|ending| ending == "m3u8") {
        let list = std::fs::read_to_string(file).expect("a playlist is text");
        return list.starts_with("#EXTM3U") && list.lines().any(|line| !line.is_empty() && !line.starts_with('#'));
    }
    let grey = folder.join("grey");
    let run = Run::playing(&format!(
        "filesrc location={} ! decodebin ! videoconvert ! videoscale ! video/x-raw,format=GRAY8,width=64,height=36 ! \
         filesink location={}",
        file.display(),
        grey.display()
    ));
    run.wait_eos(PATIENCE);
    run.stop();
    let bytes = std::fs::read(grey).expect("it was written");
    let picture = bytes.rchunks_exact(64 * 36).next();
    picture.is_some_and(|picture| picture.iter().any(|grey| *grey != picture[0]))
}

fn sender(name: &str, options: &str) -> Peer {
    Peer::launch(&format!(
        "videotestsrc is-live=true ! video/x-raw,format=RGBA,width=160,height=90,framerate=60/1 ! tdshmsink shm-name={name} {options}"
    ))
}

fn film(folder: &Folder) -> PathBuf {
    let path = folder.join("film.mp4");
    let run = Run::playing(&format!(
        "videotestsrc num-buffers=60 ! video/x-raw,format=I420,width=160,height=90,framerate=60/1 ! \
         x264enc tune=zerolatency ! h264parse ! mp4mux ! filesink location={}",
        path.display()
    ));
    run.wait_eos(Duration::from_secs(20));
    path
}
