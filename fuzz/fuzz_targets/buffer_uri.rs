// SPDX-License-Identifier: MPL-2.0
//! A URI that a user or a program brings: any text is either refused or taken apart so that it can be put together again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tdlink_core::uri::BufferUri;

fuzz_target!(|text: &str| {
    if let Ok(uri) = BufferUri::parse(text) {
        assert!(!uri.scheme.is_empty() && !uri.name.is_empty());
        let written = uri.to_string();
        assert_eq!(BufferUri::parse(&written).as_ref(), Ok(&uri), "{text:?} was written as {written:?}");
    }
});
