// SPDX-License-Identifier: MPL-2.0
//! What a raw buffer holds: from properties, then from a downstream capsfilter.

use tdlink_core::{
    frame::{self, ChannelOrder, FrameDesc, PixelFormat, SampleType},
    protocol::raw::RawLayout,
};

use super::settings::Settings;
use crate::video;

/// Parts of the geometry that nobody has said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    width: bool,
    height: bool,
    channels: bool,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = [("width", self.width), ("height", self.height), ("channels", self.channels)]
            .into_iter()
            .filter_map(|(name, missing)| missing.then_some(name))
            .collect();
        write!(
            f,
            "{} not set: raw bytes carry no geometry, so set width, height and channels, or put a capsfilter such as video/x-raw,format=RGBA,width=1280,height=720 behind the source",
            names.join(", ")
        )
    }
}

/// What downstream fixes.
#[derive(Debug, Clone, Copy, Default)]
pub struct FromCaps {
    width: Option<u32>,
    height: Option<u32>,
    pixel: Option<PixelFormat>,
}

impl FromCaps {
    /// Reads what `caps` fix; a range or a list fixes nothing.
    pub fn of(caps: &gst::CapsRef) -> Self {
        let mut structures = caps.iter();
        let Some(first) = structures.next() else { return Self::default() };
        let read = |structure: &gst::StructureRef| Self {
            width: structure.get::<i32>("width").ok().and_then(|side| u32::try_from(side).ok()),
            height: structure.get::<i32>("height").ok().and_then(|side| u32::try_from(side).ok()),
            pixel: structure
                .get::<&str>("format")
                .ok()
                .and_then(|name| video::pixel_format(gst_video::VideoFormat::from_string(name))),
        };
        let fixed = read(first);
        structures.map(read).fold(fixed, |all, one| Self {
            width: all.width.filter(|side| one.width == Some(*side)),
            height: all.height.filter(|side| one.height == Some(*side)),
            pixel: all.pixel.filter(|pixel| one.pixel == Some(*pixel)),
        })
    }
}

/// The layout of the raw buffer. Properties win over caps.
pub fn resolve(settings: &Settings, caps: FromCaps) -> Result<RawLayout, Missing> {
    let set = |value: u32| (value > 0).then_some(value);
    let width = set(settings.width).or(caps.width);
    let height = set(settings.height).or(caps.height);
    // A format says how bytes are laid out on the wire only when no property does.
    let said = caps.pixel.filter(|_| settings.channels == 0);
    let channels = if settings.channels > 0 { Some(settings.channels) } else { said.map(|pixel| pixel.channels) };
    let (Some(width), Some(height), Some(channels)) = (width, height, channels) else {
        return Err(Missing { width: width.is_none(), height: height.is_none(), channels: channels.is_none() });
    };
    let sample =
        settings.sample_type.map(SampleType::from).or(said.map(|pixel| pixel.sample)).unwrap_or(SampleType::U8);
    let order =
        settings.channel_order.map(ChannelOrder::from).or(said.map(|pixel| pixel.order)).unwrap_or(ChannelOrder::Rgba);
    let format = PixelFormat { sample, channels, order, fourth: frame::Fourth::Alpha };
    let origin = settings.live.origin.or(frame::Origin::BottomLeft);
    let offset = usize::try_from(settings.offset).unwrap_or(usize::MAX);
    Ok(RawLayout { desc: FrameDesc { width, height, format, origin }, offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(text: &str) -> FromCaps {
        gst::init().unwrap();
        FromCaps::of(&text.parse::<gst::Caps>().unwrap())
    }

    #[test]
    fn properties_alone_say_it_all() {
        let settings = Settings { width: 3, height: 5, channels: 2, ..Settings::default() };
        let layout = resolve(&settings, FromCaps::default()).unwrap();
        assert_eq!((layout.desc.width, layout.desc.height, layout.desc.format.channels), (3, 5, 2));
        assert_eq!(layout.desc.origin, frame::Origin::BottomLeft);
        assert_eq!(layout.bytes(), Some(30));
    }

    #[test]
    fn a_capsfilter_says_what_properties_do_not() {
        let found = caps("video/x-raw,format=RGBA64_LE,width=640,height=480");
        let layout = resolve(&Settings::default(), found).unwrap();
        assert_eq!(layout.desc.format.sample, SampleType::U16);
        assert_eq!(layout.bytes(), Some(640 * 480 * 8));
    }

    #[test]
    fn properties_win_over_a_capsfilter() {
        let settings = Settings { channels: 3, ..Settings::default() };
        let layout = resolve(&settings, caps("video/x-raw,format=BGRA,width=640,height=480")).unwrap();
        assert_eq!(layout.desc.format, PixelFormat::new(SampleType::U8, 3, ChannelOrder::Rgba).unwrap());
    }

    #[test]
    fn a_choice_of_sizes_fixes_nothing() {
        let missing =
            resolve(&Settings::default(), caps("video/x-raw,format=RGBA,width=[1,640],height=480")).unwrap_err();
        assert_eq!(missing, Missing { width: true, height: false, channels: false });
    }
}
