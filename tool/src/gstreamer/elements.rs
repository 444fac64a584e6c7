// SPDX-License-Identifier: MPL-2.0
//! What a GStreamer has, and who to ask for what it lacks.

use std::collections::BTreeSet;

/// Elements, by name.
#[derive(Debug, Default)]
pub struct Elements(BTreeSet<String>);

impl Elements {
    /// Reads what gst-inspect-1.0 prints without arguments: a line each, "PLUGIN:  ELEMENT: What it is".
    pub fn parse(said: &str) -> Self {
        let element = |line: &str| {
            let (_, rest) = line.split_once(": ")?;
            let (name, _) = rest.trim_start().split_once(':')?;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
        };
        Self(said.lines().filter_map(element).collect())
    }

    /// Whether there is one of that name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The first of several that is there.
    pub fn first<'a>(&self, names: &[&'a str]) -> Option<&'a str> {
        names.iter().copied().find(|name| self.has(name))
    }

    /// Those of `names` that are there.
    pub fn among<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        names.iter().copied().filter(|name| self.has(name)).collect()
    }
}

/// Properties, out of what gst-inspect-1.0 says of an element.
pub fn properties(inspected: &str) -> BTreeSet<String> {
    let after = inspected.split_once("Element Properties:").map_or("", |(_, after)| after);
    // A property stands two blanks in, its details much further.
    let name = |line: &str| {
        let line = line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?;
        Some(line.split_once(':')?.0.trim_end().to_owned())
    };
    after.lines().filter_map(name).collect()
}

/// What an inspected element's property may be, where that is one of some words.
pub fn nicks(inspected: &str, property: &str) -> BTreeSet<String> {
    let after = inspected.split_once("Element Properties:").map_or("", |(_, after)| after);
    let is_it = |line: &&str| {
        line.strip_prefix("  ").and_then(|line| line.split_once(':')?.0.trim_end().into()) == Some(property)
    };
    let nick = |line: &str| {
        let (number, rest) = line.trim_start().strip_prefix('(')?.split_once("): ")?;
        number.parse::<i64>().ok()?;
        rest.split_whitespace().next().map(str::to_owned)
    };
    let its_own = after.lines().skip_while(|line| !is_it(line)).skip(1).take_while(|line| line.starts_with("   "));
    its_own.filter_map(nick).collect()
}

/// The package that has an element: of Debian and Ubuntu, else of GStreamer; on Windows, GStreamer's own.
pub fn package(element: &str) -> &'static str {
    if cfg!(windows) { package_on_windows(element) } else { package_elsewhere(element) }
}

fn package_on_windows(element: &str) -> &'static str {
    match element {
        _ if element.starts_with("nv") => "NVIDIA's driver, and GStreamer's installer",
        _ if element.starts_with("qsv") => "Intel's driver, and GStreamer's installer",
        _ if element.starts_with("amf") => "AMD's driver, and GStreamer's installer",
        _ if element.starts_with("va") => "Linux, and there with the graphics driver",
        _ if element.starts_with("vt") || element.starts_with("osx") => "macOS",
        "v4l2src" | "pulsesrc" => "Linux",
        _ => "GStreamer's installer gstreamer-1.0-msvc-x86_64, all of it, or pip install gstreamer-bundle",
    }
}

fn package_elsewhere(element: &str) -> &'static str {
    match element {
        "x264enc" => "gstreamer1.0-plugins-ugly",
        "srtsink" | "rtmp2sink" | "x265enc" | "av1enc" | "openh264enc" | "webrtcbin" | "svtav1enc" | "voaacenc" => {
            "gstreamer1.0-plugins-bad"
        }
        "mp4mux" | "qtmux" | "matroskamux" | "flvmux" | "v4l2src" | "videobox" | "rtph264pay" => {
            "gstreamer1.0-plugins-good"
        }
        "avenc_aac" | "avenc_prores_ks" | "avenc_ffv1" => "gstreamer1.0-libav",
        "pulsesrc" => "gstreamer1.0-pulseaudio",
        "ximagesink" | "xvimagesink" => "gstreamer1.0-x",
        "rtspclientsink" => "gstreamer1.0-rtsp",
        "gst-play-1.0" => "gstreamer1.0-plugins-base-apps",
        "whipclientsink" | "whipsink" | "ndisink" => {
            "gst-plugins-rs (in GStreamer's installers and wheels; on Debian gstreamer1.0-plugins-rs where it exists)"
        }
        "autovideosink" | "videoscale" | "videoconvert" | "videorate" => "gstreamer1.0-plugins-base and -good",
        _ if element.starts_with("nv") => "NVIDIA's driver and gstreamer1.0-plugins-bad",
        _ if element.starts_with("va") => "a graphics driver with VA-API and gstreamer1.0-plugins-bad",
        _ if element.starts_with("qsv") => {
            "Intel's media driver and GStreamer's installer, or gstreamer1.0-plugins-bad"
        }
        _ if element.starts_with("mf") || element.starts_with("wasapi2") => "Windows and GStreamer's installer",
        _ if element.starts_with("amf") => "AMD's driver on Windows and GStreamer's installer",
        _ if element.starts_with("vt") || element.starts_with("osx") => "macOS",
        _ => "one of GStreamer's packages",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_out_of_the_list() {
        let said = "typefindfunctions: video/quicktime: mp4, mov\n\
                    tdlink:  tdshmsrc: TouchDesigner shared memory source\n\
                    x264:  x264enc: x264 H.264 Encoder\n\
                    \n\
                    Total count: 250 plugins (1 blacklist entry not shown), 1500 features\n";
        let elements = Elements::parse(said);
        assert!(elements.has("tdshmsrc") && elements.has("x264enc"));
        assert_eq!(elements.0.len(), 2, "{elements:?}");
        assert_eq!(elements.first(&["nvh264enc", "x264enc"]), Some("x264enc"));
    }

    #[test]
    fn windows_has_no_packages_of_debian() {
        for element in
            ["x264enc", "srtsink", "mp4mux", "whipsink", "autovideosink", "rtspclientsink", "nvh264enc", "qsvav1enc"]
        {
            let package = package_on_windows(element);
            assert!(!package.contains("gstreamer1.0-") && !package.contains("Debian"), "{element}: {package}");
            assert!(package.contains("installer"), "{element}: {package}");
        }
        assert_eq!(package_elsewhere("x264enc"), "gstreamer1.0-plugins-ugly");
    }

    #[test]
    fn properties_are_read_out_of_an_inspection() {
        let said = "Factory Details:\n  Rank                     none (0)\n\nElement Properties:\n\n  bitrate             : \
                    Bitrate in kbit/sec\n                        flags: readable, writable\n  key-int-max         : x\n";
        let found: Vec<String> = properties(said).into_iter().collect();
        assert_eq!(found, ["bitrate", "key-int-max"]);
    }
}
