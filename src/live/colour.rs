// SPDX-License-Identifier: MPL-2.0
//! What caps say of colours.

use gst::glib::translate::IntoGlib;
use gst_video::{
    VideoColorMatrix, VideoColorPrimaries, VideoColorRange, VideoColorimetry, VideoContentLightLevel, VideoFormat,
    VideoFormatInfo, VideoMasteringDisplayInfo, VideoMasteringDisplayInfoCoordinate, VideoTransferFunction,
};

use super::{FeedDesc, LiveSettings};
use crate::{
    enums::{Alpha, Transfer},
    video,
};

/// What the pixels can mean in `format`, the truest first. Empty: caps say nothing, and GStreamer's default stands.
///
/// Of Y′CbCr downstream chooses matrix and range, and may call sRGB's curve BT.709's, as most of the world does: the
/// numbers are the same. Caps are compared as text, so each stands there in words, where there is a word, and in numbers.
pub fn colorimetries(feed: &FeedDesc, settings: &LiveSettings, format: VideoFormat) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for text in meanings(feed, settings, format) {
        let numbers = text.parse().ok().map(|colours| numbers(&colours));
        for spelled in std::iter::once(text).chain(numbers) {
            if !all.contains(&spelled) {
                all.push(spelled);
            }
        }
    }
    all
}

/// As caps have what there is no word for: range, matrix, transfer, primaries.
fn numbers(colours: &VideoColorimetry) -> String {
    let (range, matrix) = (colours.range().into_glib(), colours.matrix().into_glib());
    format!("{range}:{matrix}:{}:{}", colours.transfer().into_glib(), colours.primaries().into_glib())
}

fn meanings(feed: &FeedDesc, settings: &LiveSettings, format: VideoFormat) -> Vec<String> {
    let asked = settings.colorimetry.parse::<VideoColorimetry>().ok();
    let said = feed.colorimetry.as_ref();
    let kept = said.filter(|_| settings.transfer == Transfer::Passthrough);
    let made = video::colorimetry_after(settings.transfer.into(), said);
    if VideoFormatInfo::from_format(format).is_yuv() {
        return match &asked {
            Some(asked) if is_weighing(asked.matrix()) => vec![settings.colorimetry.clone()],
            asked => weighed(asked.as_ref().or(kept).unwrap_or(&made)),
        };
    }
    if asked.is_some() {
        return vec![settings.colorimetry.clone()];
    }
    if let Some(kept) = kept {
        return vec![kept.to_string()];
    }
    // Grey has no primaries and no matrix to speak of: GStreamer's own default stands, unless light was changed.
    let grey = video::pixel_format(format).is_some_and(|pixel| pixel.channels == 1);
    let told = !grey || settings.transfer != Transfer::Passthrough;
    told.then(|| made.to_string()).into_iter().collect()
}

/// The matrices by which Y′ can be weighed.
fn is_weighing(matrix: VideoColorMatrix) -> bool {
    matches!(matrix, VideoColorMatrix::Bt601 | VideoColorMatrix::Bt709 | VideoColorMatrix::Bt2020)
}

/// Y′CbCr of pixels that mean `pixels`.
fn weighed(pixels: &VideoColorimetry) -> Vec<String> {
    use VideoColorMatrix::{Bt601, Bt709, Bt2020};
    use VideoColorRange::{Range0_255, Range16_235};
    let (transfer, primaries) = (pixels.transfer(), pixels.primaries());
    let of = |range, matrix| VideoColorimetry::new(range, matrix, transfer, primaries).to_string();
    // Curves that are called each other's names.
    let usual = matches!(transfer, VideoTransferFunction::Srgb | VideoTransferFunction::Bt709);
    match (primaries == VideoColorPrimaries::Bt2020, usual) {
        (true, true) => {
            vec![of(Range16_235, Bt2020), "bt2020".into(), "bt2020-10".into(), of(Range0_255, Bt2020)]
        }
        (true, false) => vec![of(Range16_235, Bt2020), of(Range0_255, Bt2020)],
        // The word bt601 and its older numbers say SMPTE 170M's primaries, too, which these pixels do not have: they come
        // after what is true, for neighbours that take nothing else. Of BT.2020 that would be a plain lie.
        (false, true) => vec![
            of(Range16_235, Bt709),
            "bt709".into(),
            of(Range0_255, Bt709),
            of(Range16_235, Bt601),
            "bt601".into(),
            "2:4:5:4".into(),
            of(Range0_255, Bt601),
        ],
        (false, false) => vec![of(Range16_235, Bt709), of(Range0_255, Bt709)],
    }
}

/// What is said of light that became PQ or HLG, as fields of caps. None otherwise: what the wire holds nobody has told.
///
/// The display: BT.2020's primaries and D65, up to 1000 nits, which is HLG's reference display and the usual one for PQ,
/// or as bright as the content where that is known to be brighter.
/// The content: integers hold no more than 1.0, so no pixel is brighter than reference white; of floats it is not known,
/// which 0 says.
pub fn light(feed: &FeedDesc, settings: &LiveSettings) -> Vec<(&'static str, String)> {
    if !matches!(settings.transfer, Transfer::LinearToPq | Transfer::LinearToHlg) {
        return Vec::new();
    }
    /// In units of 0.00002.
    const RED_GREEN_BLUE: [(u16, u16); 3] = [(35_400, 14_600), (8_500, 39_850), (6_550, 2_300)];
    const D65: (u16, u16) = (15_635, 16_450);
    /// In units of 0.0001 nits.
    const LEAST: u32 = 1;
    const NIT: u32 = 10_000;
    /// In nits.
    const USUAL: u16 = 1000;
    let at = |(x, y)| VideoMasteringDisplayInfoCoordinate { x, y };
    // Division by alpha makes light without a bound.
    let bounded = !feed.wire.format.sample.is_float() && settings.alpha != Alpha::PremultipliedToStraight;
    let most = if bounded { settings.reference_white.ceil() as u16 } else { 0 };
    let peak = u32::from(most.max(USUAL)) * NIT;
    let display = VideoMasteringDisplayInfo::new(RED_GREEN_BLUE.map(at), at(D65), peak, LEAST);
    vec![
        ("mastering-display-info", display.to_string()),
        ("content-light-level", VideoContentLightLevel::new(most, most).to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use tdlink_core::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};

    use super::*;

    fn feed(sample: SampleType, colorimetry: Option<&str>) -> FeedDesc {
        gst::init().unwrap();
        let format = PixelFormat::new(sample, 4, ChannelOrder::Rgba).unwrap();
        FeedDesc {
            name: "a".into(),
            wire: FrameDesc { width: 4, height: 4, format, origin: Origin::BottomLeft },
            sample_type: None,
            offers: Vec::new(),
            framerate: None,
            most: (60, 1).into(),
            sampling: None,
            pixel_aspect: (1, 1).into(),
            extras: Vec::new(),
            colorimetry: colorimetry.map(|said| said.parse().unwrap()),
            pid: None,
            protocol: "cuda-link",
        }
    }

    fn first(transfer: Transfer, asked: &str, said: Option<&str>, format: VideoFormat) -> String {
        let settings = LiveSettings { transfer, colorimetry: asked.into(), ..LiveSettings::default() };
        colorimetries(&feed(SampleType::U8, said), &settings, format)[0].clone()
    }

    #[test]
    fn luma_is_weighed_as_the_primaries_are_and_the_curve_stays_the_pixels() {
        use VideoFormat::{Nv12, P01010le, Rgba};
        assert_eq!(first(Transfer::Passthrough, "", None, Rgba), "sRGB");
        assert_eq!(first(Transfer::Passthrough, "", None, Nv12), "2:3:7:1");
        assert_eq!(first(Transfer::LinearToPq, "", None, P01010le), "bt2100-pq");
        assert_eq!(first(Transfer::LinearToHlg, "", None, P01010le), "bt2100-hlg");
        assert_eq!(first(Transfer::Passthrough, "", Some("1:1:7:1"), Nv12), "2:3:7:1");
        assert_eq!(first(Transfer::Passthrough, "", Some("1:1:14:7"), P01010le), "bt2100-pq");
        // A transfer makes something else of what the wire says.
        assert_eq!(first(Transfer::LinearToSrgb, "", Some("1:1:1:1"), Nv12), "2:3:7:1");
    }

    #[test]
    fn primaries_of_bt2020_are_made_once() {
        use tdlink_core::pixels::Gamut;
        let settings = LiveSettings { transfer: Transfer::LinearToHlg, ..LiveSettings::default() };
        let gamut = |said: Option<&str>| settings.pixel_options(feed(SampleType::F32, said).colorimetry.as_ref()).gamut;
        assert_eq!((gamut(None), gamut(Some("1:1:1:1"))), (Gamut::Bt709ToBt2020, Gamut::Bt709ToBt2020));
        assert_eq!(gamut(Some("1:1:1:7")), Gamut::Passthrough, "the wire has them already");
        let plain = LiveSettings::default();
        assert_eq!(plain.pixel_options(None).gamut, Gamut::Passthrough);
    }

    #[test]
    fn the_property_wins_where_it_can_be() {
        use VideoFormat::{Nv12, Rgba};
        assert_eq!(first(Transfer::Passthrough, "bt601", None, Nv12), "bt601");
        assert_eq!(first(Transfer::Passthrough, "sRGB", None, Nv12), "2:3:7:1");
        assert_eq!(first(Transfer::Passthrough, "bt709", None, Rgba), "bt709");
    }

    #[test]
    fn downstream_may_choose_matrix_and_range_of_luma() {
        let feed = feed(SampleType::U8, None);
        let all = colorimetries(&feed, &LiveSettings::default(), VideoFormat::Nv12);
        for wanted in ["bt709", "2:3:5:1", "bt601", "2:4:16:4", "2:4:5:4", "1:3:7:1"] {
            assert!(all.iter().any(|said| said == wanted), "{wanted} in {all:?}");
        }
        // SMPTE 170M's primaries are said only to a neighbour that takes no truer word for that matrix.
        let at = |wanted: &str| all.iter().position(|said| said == wanted);
        assert!(at("2:4:7:1").is_some_and(|true_one| Some(true_one) < at("bt601")), "{all:?}");
        assert!(!all.iter().any(|said| said.contains("2020") || said.ends_with(":7")), "other primaries: {all:?}");
    }

    #[test]
    fn words_and_numbers_of_caps_mean_the_same() {
        use VideoFormat::{Nv12, P01010le, Rgba};
        let all = |said: Option<&str>, asked: &str, format| {
            let settings = LiveSettings { colorimetry: asked.into(), ..LiveSettings::default() };
            colorimetries(&feed(SampleType::U8, said), &settings, format)
        };
        assert_eq!(all(None, "", Rgba), ["sRGB", "1:1:7:1"]);
        assert_eq!(all(None, "bt601", Nv12), ["bt601", "2:4:16:4"]);
        assert_eq!(all(None, "2:3:5:1", Nv12), ["2:3:5:1"], "as it was asked for");
        let wide = all(Some("1:1:7:7"), "", P01010le);
        assert_eq!(wide[0], "2:6:7:7");
        for wanted in ["bt2020", "2:6:11:7", "bt2020-10", "2:6:13:7"] {
            assert!(wide.iter().any(|said| said == wanted), "{wanted} in {wide:?}");
        }
    }

    #[test]
    fn the_display_is_as_bright_as_what_is_known_to_be_shown_on_it() {
        let display = |sample, reference_white| {
            let transfer = Transfer::LinearToPq;
            let settings = LiveSettings { transfer, reference_white, ..LiveSettings::default() };
            let said = light(&feed(sample, None), &settings);
            let numbers = |at: usize| said[at].1.split(':').map(|word| word.parse().unwrap()).collect::<Vec<u32>>();
            (numbers(0)[8], numbers(1)[0])
        };
        assert_eq!(display(SampleType::U16, 203.0), (10_000_000, 203));
        assert_eq!(display(SampleType::U16, 1000.0), (10_000_000, 1000));
        assert_eq!(display(SampleType::U16, 4000.0), (40_000_000, 4000));
        assert_eq!(display(SampleType::U16, 10_000.0), (100_000_000, 10_000));
        assert_eq!(display(SampleType::F32, 10_000.0), (10_000_000, 0), "of floats nobody knows");
    }

    #[test]
    fn integers_are_no_brighter_than_reference_white_and_of_floats_nobody_knows() {
        let of = |sample, alpha| {
            let settings = LiveSettings { transfer: Transfer::LinearToPq, alpha, ..LiveSettings::default() };
            light(&feed(sample, None), &settings).into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        let display = "35400:14600:8500:39850:6550:2300:15635:16450:10000000:1";
        assert_eq!(of(SampleType::U16, Alpha::Passthrough), [display, "203:203"]);
        assert_eq!(of(SampleType::F16, Alpha::Passthrough), [display, "0:0"]);
        assert_eq!(of(SampleType::U8, Alpha::PremultipliedToStraight), [display, "0:0"]);
        assert!(light(&feed(SampleType::U8, None), &LiveSettings::default()).is_empty());
    }
}
