// SPDX-License-Identifier: MPL-2.0
//! Header and info segment of a Shared Mem TOP that somebody else wrote: they are refused, or every number of them can be
//! used without a further look.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tdlink_core::protocol::touch::{Header, Info, InfoLayout, Postfix, TouchNames};

fuzz_target!(|input: (u32, &[u8])| {
    let (mapped, bytes) = (input.0 as usize, input.1);
    if let Ok(header) = Header::parse(bytes, mapped) {
        assert!(header.data_offset >= 40 && header.total_bytes() <= mapped, "{header:?}");
        let pixels = header.width as usize * header.height as usize;
        assert_eq!(header.data_bytes, pixels * header.pixel.bytes(), "{header:?}");
        if let Some(written) = header.encode() {
            // What can be written says the same when it is read. (Not the aspect: NaN is not itself.)
            let again = Header::parse(&written, mapped).expect("what is written is a header");
            assert_eq!((again.width, again.height, again.pixel), (header.width, header.height, header.pixel));
            assert_eq!((again.data_offset, again.colour), (header.data_offset, header.colour));
        }
    }
    for layout in [InfoLayout::Utf16, InfoLayout::Bytes] {
        let Ok(info) = Info::parse(bytes, layout) else { continue };
        assert!(info.postfix.to_string().encode_utf16().count() <= Postfix::LENGTH, "{info:?}");
        assert!(info.version >= 1 && (info.version >= 2 || !info.detach), "{info:?}");
        let names = TouchNames::new("cam1").expect("a name");
        if let Ok(name) = names.data(&info.postfix) {
            assert!(!name.as_str().contains(['/', '\\', '\0']), "{name}");
        }
        if layout == InfoLayout::Utf16 {
            assert_eq!(Info::parse(&info.encode(layout), layout), Ok(info));
        }
    }
});
