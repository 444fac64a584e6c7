// SPDX-License-Identifier: MPL-2.0
//! Pixels that somebody else wrote: every pair of formats takes any bytes and any length, without a panic, and what stands
//! beyond the row stays untouched.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tdlink_core::frame::{ChannelOrder, Fourth, PixelFormat, SampleType};
use tdlink_core::pixels::{Alpha, Converter, Options, Transfer};

fn format(byte: u8) -> PixelFormat {
    PixelFormat {
        sample: SampleType::ALL[usize::from(byte & 3)],
        channels: 1 + (byte >> 2 & 3),
        order: if byte & 16 == 0 { ChannelOrder::Rgba } else { ChannelOrder::Bgra },
        fourth: if byte & 32 == 0 { Fourth::Alpha } else { Fourth::Padding },
    }
}

fuzz_target!(|input: &[u8]| {
    let [from, to, how, room, src @ ..] = input else { return };
    let (from, to) = (format(*from), format(*to));
    let alpha = [Alpha::Passthrough, Alpha::Opaque, Alpha::PremultipliedToStraight, Alpha::StraightToPremultiplied];
    let transfer = [Transfer::Passthrough, Transfer::LinearToSrgb, Transfer::SrgbToLinear, Transfer::LinearToPq];
    let options = Options {
        alpha: alpha[usize::from(how & 3)],
        transfer: transfer[usize::from(how >> 2 & 3)],
        ..Options::default()
    };
    let mut converter = Converter::new(from, to, options);
    let pixels = src.len() / from.bytes();
    // Mostly the right length, sometimes a wrong one.
    let expected = pixels * to.bytes();
    let mut dst = vec![0xa5u8; if *room < 200 { expected } else { usize::from(*room) }];
    let outcome = converter.row(src, &mut dst);
    let fits = src.len() % from.bytes() == 0 && dst.len() == expected;
    assert_eq!(outcome.is_ok(), fits, "{from} to {to}, {} to {} bytes: {outcome:?}", src.len(), dst.len());
    if !fits {
        assert!(dst.iter().all(|&byte| byte == 0xa5), "a refused row was written");
    } else if converter.is_copy() {
        assert_eq!(src, dst);
    }
});
