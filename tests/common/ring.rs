// SPDX-License-Identifier: MPL-2.0
//! Both ends of a ring in one process: a sink that is fed by hand, a source that is written down.

use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};

use super::frames::buffer;
use super::recorder::Recorder;
use super::run::Run;

/// A sink that is fed by hand, and the caps of its frames.
pub fn fed(name: &str, info: &VideoInfo, options: &str) -> (Run, gst_app::AppSrc) {
    let run = Run::new(&format!(
        "appsrc name=a format=time ! tdshmsink name=k sync=false async=false shm-name={name} {options}"
    ));
    let feed = run.element("a").downcast::<gst_app::AppSrc>().expect("it is an appsrc");
    feed.set_caps(Some(&info.to_caps().expect("caps of an info")));
    run.play();
    (run, feed)
}

/// Frames of this format and size, 60 a second.
pub fn info(format: VideoFormat, width: u32, height: u32) -> VideoInfo {
    super::init();
    VideoInfo::builder(format, width, height).fps(gst::Fraction::new(60, 1)).build().expect("a valid format")
}

/// Frame `n`: all of it is that number.
pub fn numbered(info: &VideoInfo, n: u32) -> gst::Buffer {
    let words = (info.width() * info.height()) as usize;
    buffer(info, &n.to_le_bytes().repeat(words))
}

/// A source with everything that it pushes.
pub fn source(options: &str) -> (Run, Recorder) {
    let run = Run::new(&format!("tdshmsrc name=s {options} ! fakesink sync=false async=false"));
    let recorder = Recorder::source(&run, "s");
    run.play();
    (run, recorder)
}

/// Numbers of the frames that are no repeats.
pub fn fresh(recorder: &Recorder) -> Vec<u32> {
    recorder.pictures().iter().filter(|picture| !picture.is_gap()).map(|picture| picture.number()).collect()
}

/// Whether an address of this process lies in shared memory under a name.
#[cfg(target_os = "linux")]
pub fn is_shared(address: usize, name: &str) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is there");
    maps.lines().filter(|line| line.contains(name)).any(|line| {
        let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let hex = |text| usize::from_str_radix(text, 16).expect("an address");
        (hex(from)..hex(to)).contains(&address)
    })
}
