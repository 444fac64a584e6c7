// SPDX-License-Identifier: MPL-2.0
//! A name that a user or a URI brings: any text is either refused or safe to make object names of.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tdlink_core::segment::SegmentName;

fuzz_target!(|text: &str| {
    if let Ok(name) = SegmentName::new(text) {
        assert_eq!(name.as_str(), text);
        assert!((1..=200).contains(&text.len()));
        // It must stay one file of one folder, and not be one of the hidden objects.
        assert!(!text.contains(['/', '\0']) && !text.starts_with('.') && !text.ends_with(".tdlink"));
    }
});
