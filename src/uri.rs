// SPDX-License-Identifier: MPL-2.0
//! The properties of a source as a URI: `tdshm://NAME?width=…`.

use gst::{glib, prelude::*};
use tdlink_core::{segment::SegmentName, uri::BufferUri};

/// The properties that a source has as a URI.
pub trait Properties: Clone + Default {
    /// The URI's scheme.
    const SCHEME: &'static str;
    /// The specifications of all properties.
    fn param_specs() -> Vec<glib::ParamSpec>;
    /// The value of `shm-name`.
    fn name(&self) -> &str;
    /// Takes `value` if `name` is one of these properties.
    fn set(&mut self, name: &str, value: &glib::Value) -> bool;
    /// The value of `name` if it is one of these properties.
    fn get(&self, name: &str) -> Option<glib::Value>;
    /// Puts a property back to what it is when nobody has set it.
    fn reset(&mut self, name: &str) {
        if let Some(value) = Self::default().get(name) {
            self.set(name, &value);
        }
    }
    /// Whether somebody has set a property for which that makes a difference, even to its default.
    fn is_explicit(&self, _name: &str) -> bool {
        false
    }
}

/// The URI that says what `settings` say; none without a name.
pub fn of<S: Properties>(settings: &S) -> Option<String> {
    if settings.name().is_empty() {
        return None;
    }
    let default = S::default();
    let parameters = parameters::<S>()
        .filter_map(|spec| {
            let name = spec.name();
            let text = |settings: &S| settings.get(name)?.serialize().ok();
            let said = text(settings)?;
            (settings.is_explicit(name) || Some(&said) != text(&default).as_ref())
                .then(|| (name.to_string(), said.to_string()))
        })
        .collect();
    Some(BufferUri { scheme: S::SCHEME.into(), name: settings.name().into(), parameters }.to_string())
}

/// `settings` with what `uri` says, and the names of the properties that it sets. What an earlier URI set (`earlier`)
/// goes back to its default first.
///
/// # Errors
/// No URI of ours, no buffer's name, no parameter or no value of it: says which, and what would be right.
pub fn apply<S: Properties>(settings: &S, earlier: &[String], uri: &str) -> Result<(S, Vec<String>), glib::Error> {
    let bad = |text: String| glib::Error::new(gst::URIError::BadUri, &format!("{uri}: {text}"));
    let parsed = BufferUri::parse(uri).map_err(|err| glib::Error::new(gst::URIError::BadUri, &err.to_string()))?;
    if parsed.scheme != S::SCHEME {
        return Err(bad(format!("the scheme is {:?}, expected {:?}", parsed.scheme, S::SCHEME)));
    }
    SegmentName::new(&parsed.name).map_err(|err| bad(err.to_string()))?;
    let mut changed = settings.clone();
    earlier.iter().for_each(|name| changed.reset(name));
    changed.set("shm-name", &parsed.name.to_value());
    let mut set: Vec<String> = Vec::new();
    for (key, text) in parsed.parameters {
        let Some(spec) = parameters::<S>().find(|spec| spec.name() == key) else {
            let known: Vec<_> = parameters::<S>().map(|spec| spec.name().to_string()).collect();
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
fn parameters<S: Properties>() -> impl Iterator<Item = glib::ParamSpec> {
    S::param_specs()
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
