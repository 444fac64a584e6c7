// SPDX-License-Identifier: MPL-2.0
//! `tdshm://NAME?width=…`: the properties of a source as a URI.

use gst::{glib, prelude::*};
use tdlink_core::{segment::SegmentName, uri::BufferUri};

use super::settings::Settings;

pub const SCHEME: &str = "tdshm";

/// The URI that says what `settings` say; none without a name.
pub fn of(settings: &Settings) -> Option<String> {
    if settings.shm_name.is_empty() {
        return None;
    }
    let default = Settings::default();
    let parameters = parameters()
        .filter_map(|spec| {
            let name = spec.name();
            let text = |settings: &Settings| settings.get(name)?.serialize().ok();
            let said = text(settings)?;
            (settings.is_explicit(name) || Some(&said) != text(&default).as_ref())
                .then(|| (name.to_string(), said.to_string()))
        })
        .collect();
    Some(BufferUri { scheme: SCHEME.into(), name: settings.shm_name.clone(), parameters }.to_string())
}

/// `settings` with what `uri` says, and the names of the properties that it sets. What an earlier URI set (`earlier`)
/// goes back to its default first.
///
/// # Errors
/// No URI of ours, no buffer's name, no parameter or no value of it: says which, and what would be right.
pub fn apply(settings: &Settings, earlier: &[String], uri: &str) -> Result<(Settings, Vec<String>), glib::Error> {
    let bad = |text: String| glib::Error::new(gst::URIError::BadUri, &format!("{uri}: {text}"));
    let parsed = BufferUri::parse(uri).map_err(|err| glib::Error::new(gst::URIError::BadUri, &err.to_string()))?;
    if parsed.scheme != SCHEME {
        return Err(bad(format!("the scheme is {:?}, expected {SCHEME:?}", parsed.scheme)));
    }
    SegmentName::new(&parsed.name).map_err(|err| bad(err.to_string()))?;
    let mut changed = settings.clone();
    earlier.iter().for_each(|name| changed.reset(name));
    changed.shm_name = parsed.name;
    let mut set: Vec<String> = Vec::new();
    for (key, text) in parsed.parameters {
        let Some(spec) = parameters().find(|spec| spec.name() == key) else {
            let known: Vec<_> = parameters().map(|spec| spec.name().to_string()).collect();
            return Err(bad(format!("{key:?} is no parameter; right would be one of {}", known.join(", "))));
        };
        if set.contains(&key) {
            return Err(bad(format!("{key:?} is said twice")));
        }
        let value = glib::Value::deserialize_with_pspec(&text, &spec)
            .ok()
            .filter(|value| spec.value_is_valid(value))
            .ok_or_else(|| bad(format!("{text:?} is no value of {key}; right would be {}", right(&spec))))?;
        changed.set(&key, &value);
        set.push(key);
    }
    Ok((changed, set))
}

/// The properties that can stand in a URI.
fn parameters() -> impl Iterator<Item = glib::ParamSpec> {
    Settings::param_specs()
        .into_iter()
        .filter(|spec| spec.flags().contains(glib::ParamFlags::WRITABLE) && spec.name() != "shm-name")
}

/// What a property takes, in words.
fn right(spec: &glib::ParamSpec) -> String {
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecInt>() {
        return format!("a number from {} to {}", spec.minimum(), spec.maximum());
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecUInt>() {
        return format!("a number from {} to {}", spec.minimum(), spec.maximum());
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecFloat>() {
        return format!("a number from {} to {}", spec.minimum(), spec.maximum());
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecEnum>() {
        let nicks: Vec<_> = spec.enum_class().values().iter().map(|value| value.nick().to_string()).collect();
        return format!("one of {}", nicks.join(", "));
    }
    if spec.is::<gst::ParamSpecFraction>() {
        return "a fraction such as 60/1 or 60000/1001".into();
    }
    format!("a value of type {}", spec.value_type())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enums::{SrcChannelOrder, SrcSampleType};

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
