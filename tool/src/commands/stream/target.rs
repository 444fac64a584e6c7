// SPDX-License-Identifier: MPL-2.0
//! Where a stream goes, by its address, and what GStreamer needs for it.

use crate::address::redacted;
use crate::failure::Failure;
use crate::gstreamer::{Codec, GStreamer, Line, Trouble, package};

/// Where a stream goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// MPEG-TS by SRT
    Srt(String),
    /// FLV by RTMP
    Rtmp(String),
    /// WebRTC, asked for by HTTP
    Whip(String),
    /// To an RTSP server
    Rtsp(String),
    /// A source on the network
    Ndi(String),
}

/// By its address.
pub fn read(url: &str) -> Result<Target, Failure> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let target = match scheme.to_ascii_lowercase().as_str() {
        "srt" => Target::Srt(url.into()),
        "rtmp" | "rtmps" => Target::Rtmp(url.into()),
        "whip" => Target::Whip(format!("http://{rest}")),
        "whips" => Target::Whip(format!("https://{rest}")),
        "http" | "https" => Target::Whip(url.into()),
        "rtsp" | "rtsps" => Target::Rtsp(url.into()),
        "ndi" => Target::Ndi(rest.into()),
        _ => {
            return Err(Failure::Usage(format!(
                "{}: expected srt://, rtmp://, rtmps://, whip://, whips://, rtsp:// or ndi://NAME",
                redacted(url)
            )));
        }
    };
    if rest.is_empty() {
        Err(Failure::Usage(format!("{}: nothing behind {scheme}://", redacted(url))))
    } else {
        Ok(target)
    }
}

impl Target {
    /// Refuses a codec that does not go there.
    pub fn takes(&self, codec: Codec) -> Result<(), Failure> {
        let fits = match self {
            Self::Srt(_) => matches!(codec, Codec::H264 | Codec::Hevc),
            _ => codec == Codec::H264,
        };
        if fits {
            Ok(())
        } else {
            Err(Failure::Usage(format!("--codec {}: expected h264, or hevc over srt", codec.name())))
        }
    }

    /// Elements that must be there; of several in one group, one.
    fn needs(&self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Srt(_) => &[&["srtsink"], &["mpegtsmux"]],
            Self::Rtmp(_) => &[&["rtmp2sink"], &["flvmux"]],
            Self::Whip(_) => &[&["whipclientsink", "whipsink"]],
            Self::Rtsp(_) => &[&["rtspclientsink"]],
            Self::Ndi(_) => &[&["ndisink"], &["ndisinkcombiner"]],
        }
    }

    /// Whether GStreamer has what it needs.
    pub fn check(&self, gstreamer: &GStreamer) -> Result<(), Failure> {
        let lacks = |group: &&&[&'static str]| gstreamer.elements.first(group).is_none();
        match self.needs().iter().find(lacks) {
            Some(group) => Err(Trouble::Lacks { what: group.join(" or "), package: package(group[0]) }.into()),
            None => Ok(()),
        }
    }

    fn has_whip_client(gstreamer: &GStreamer) -> bool {
        gstreamer.elements.has("whipclientsink")
    }

    /// Whether the sink takes pictures and compresses them itself, or sends them as they are.
    pub fn encodes_itself(&self, gstreamer: &GStreamer) -> bool {
        match self {
            Self::Ndi(_) => true,
            Self::Whip(_) => Self::has_whip_client(gstreamer),
            Self::Srt(_) | Self::Rtmp(_) | Self::Rtsp(_) => false,
        }
    }

    /// Whether it takes sound as it is.
    pub fn takes_raw_sound(&self, gstreamer: &GStreamer) -> bool {
        self.encodes_itself(gstreamer)
    }

    /// Whether its sound is Opus, not AAC.
    pub fn wants_opus(&self) -> bool {
        matches!(self, Self::Whip(_))
    }

    /// What it is given where it compresses itself.
    pub fn raw_format(&self) -> &'static str {
        if matches!(self, Self::Ndi(_)) { "UYVY" } else { "I420" }
    }

    /// The end of the pipeline, by name.
    pub fn sink(&self, gstreamer: &GStreamer, kbps: u32) -> Line {
        let line = Line::default();
        match self {
            // What goes on air is not to wait for somebody who listens.
            Self::Srt(url) => line
                .then("mpegtsmux")
                .set("name", "mux")
                .set("alignment", 7)
                .then("srtsink")
                .set("uri", url)
                .set("wait-for-connection", false),
            Self::Rtmp(url) => {
                line.then("flvmux").set("name", "mux").set("streamable", true).then("rtmp2sink").set("location", url)
            }
            Self::Whip(url) if Self::has_whip_client(gstreamer) => line
                .then("whipclientsink")
                .set("name", "mux")
                .set("video-caps", "video/x-h264")
                .set("start-bitrate", u64::from(kbps) * 1000)
                .set("signaller::whip-endpoint", url),
            Self::Whip(url) => line.then("whipsink").set("name", "mux").set("whip-endpoint", url),
            Self::Rtsp(url) => line.then("rtspclientsink").set("name", "mux").set("location", url),
            Self::Ndi(name) => line.then("ndisinkcombiner").set("name", "mux").then("ndisink").set("ndi-name", name),
        }
        .end()
    }

    /// From the compressed picture to that end.
    pub fn video(&self, gstreamer: &GStreamer) -> Line {
        let line = Line::default().then("queue");
        match self {
            Self::Whip(_) if !Self::has_whip_client(gstreamer) => {
                let line = line.then("rtph264pay").set("config-interval", -1).set("aggregate-mode", "zero-latency");
                line.then("application/x-rtp,media=video,encoding-name=H264,payload=97,clock-rate=90000").then("mux.")
            }
            Self::Ndi(_) => line.then("mux.video"),
            _ => line.then("mux."),
        }
    }

    /// From the compressed sound to that end.
    pub fn audio(&self, gstreamer: &GStreamer) -> Line {
        let line = Line::default();
        match self {
            Self::Whip(_) if !Self::has_whip_client(gstreamer) => {
                line.then("rtpopuspay").then("application/x-rtp,media=audio,encoding-name=OPUS,payload=96").then("mux.")
            }
            Self::Ndi(_) => line.then("mux.audio"),
            _ => line.then("mux."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_to() {
        assert_eq!(read("srt://:7001").unwrap(), Target::Srt("srt://:7001".into()));
        assert_eq!(read("whips://x/y").unwrap(), Target::Whip("https://x/y".into()));
        assert_eq!(read("ndi://Stage left").unwrap(), Target::Ndi("Stage left".into()));
        for wrong in ["ftp://x", "srt://", "cam1"] {
            assert!(matches!(read(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn only_srt_takes_hevc() {
        assert!(read("srt://:1").unwrap().takes(Codec::Hevc).is_ok());
        assert!(read("rtmp://x/y").unwrap().takes(Codec::Hevc).is_err());
    }
}
