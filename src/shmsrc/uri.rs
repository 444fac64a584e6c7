// SPDX-License-Identifier: MPL-2.0
//! `tdshm://NAME?width=…`: what such a URI says of a source.

#[cfg(test)]
mod tests {
    use super::super::settings::Settings;
    use crate::{
        enums::{SrcChannelOrder, SrcSampleType},
        uri::{apply, of},
    };

    fn apply_to_default(uri: &str) -> Result<Settings, String> {
        gst::init().unwrap();
        apply(&Settings::default(), &[], uri).map(|(settings, _)| settings).map_err(|err| err.message().to_string())
    }

    #[test]
    fn a_uri_says_all_that_properties_say() {
        let uri = "tdshm://cam%3E1?width=64&height=48&channels=3&framerate=60000%2F1001&on-disconnect=eos";
        let settings = apply_to_default(uri).unwrap();
        assert_eq!((settings.shm_name.as_str(), settings.width, settings.channels), ("cam>1", 64, 3));
        assert_eq!(of(&settings).as_deref(), Some(uri));
    }

    #[test]
    fn what_was_said_stays_said_even_if_it_is_the_default() {
        let settings = apply_to_default("tdshm://a?sample-type=u8&channel-order=rgba").unwrap();
        assert_eq!(settings.sample_type, Some(SrcSampleType::U8));
        assert_eq!(settings.channel_order, Some(SrcChannelOrder::Rgba));
        assert_eq!(of(&settings).as_deref(), Some("tdshm://a?sample-type=u8&channel-order=rgba"));
    }

    #[test]
    fn the_next_uri_forgets_the_one_before() {
        gst::init().unwrap();
        let (first, set) = apply(&Settings::default(), &[], "tdshm://a?width=10&sample-type=f32").unwrap();
        let (second, _) = apply(&first, &set, "tdshm://b?height=5").unwrap();
        assert_eq!(of(&second).as_deref(), Some("tdshm://b?height=5"));
    }

    #[test]
    fn a_value_out_of_range_is_an_error_that_names_the_range() {
        for (parameter, right) in [
            ("width=99999999", "0 to 32768"),
            ("width=-1", "0 to 32768"),
            ("channels=9", "0 to 4"),
            ("keepalive=99999999", "0 to 3600000"),
            ("reference-white=0", "1 to 10000"),
            ("framerate=-1/1", "60/1"),
            ("framerate=rubbish", "60/1"),
            ("origin=middle", "bottom-left"),
            ("stats=1", "width"),
            ("num-buffers=1", "width"),
            ("width=1&width=2", "twice"),
        ] {
            let text = apply_to_default(&format!("tdshm://a?{parameter}")).unwrap_err();
            assert!(text.contains(right), "{parameter}: {text}");
        }
    }
}
