// SPDX-License-Identifier: MPL-2.0
//! Components change places, come in and drop out; samples stay what they are.

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch, u8x16};

use crate::frame::{ChannelOrder, PixelFormat, SampleType};

/// Bytes of a block: as many whole pixels as go into one vector of 128 bits on both sides.
const BLOCK: usize = 16;

/// Where one component of a destination pixel comes from.
#[derive(Clone, Copy)]
enum Source {
    Component(usize),
    Zero,
    Max,
}

/// How the bytes of a destination pixel are made of those of a source pixel of the same sample type.
pub(super) struct Shuffle {
    /// Bytes of a source pixel.
    src_pixel: usize,
    /// Bytes of a destination pixel.
    dst_pixel: usize,
    /// Pixels per block.
    pixels: usize,
    /// Which byte of the source block becomes each byte of the destination block.
    index: [u8; BLOCK],
    /// Bits of that byte that are kept: all or none.
    keep: [u8; BLOCK],
    /// Bits that are set then.
    fill: [u8; BLOCK],
}

impl Shuffle {
    /// How pixels of `to` are made of pixels of `from`, whose samples are the same; `None` when they are the same bytes.
    /// With `opaque` a fourth component is maximum.
    pub(super) fn new(from: PixelFormat, to: PixelFormat, opaque: bool) -> Option<Self> {
        let sources = sources(from, to, opaque);
        let same = |(i, source): (usize, &Source)| matches!(source, Source::Component(c) if *c == i);
        if from.channels == to.channels && sources[..usize::from(to.channels)].iter().enumerate().all(same) {
            return None;
        }
        let sample = to.sample.bytes();
        let (src_pixel, dst_pixel) = (from.bytes(), to.bytes());
        let pixels = BLOCK / src_pixel.max(dst_pixel);
        let max: &[u8] = match to.sample {
            SampleType::U8 => &[0xff],
            SampleType::U16 => &[0xff, 0xff],
            SampleType::F16 => &half::f16::ONE.to_le_bytes(),
            SampleType::F32 => &1f32.to_le_bytes(),
        };
        let mut shuffle = Self { src_pixel, dst_pixel, pixels, index: [0; BLOCK], keep: [0; BLOCK], fill: [0; BLOCK] };
        for at in 0..pixels * dst_pixel {
            let (pixel, byte) = (at / dst_pixel, at % sample);
            match sources[at % dst_pixel / sample] {
                Source::Component(c) => {
                    shuffle.index[at] = (pixel * src_pixel + c * sample + byte) as u8; // < BLOCK
                    shuffle.keep[at] = 0xff;
                }
                Source::Zero => {}
                Source::Max => shuffle.fill[at] = max[byte],
            }
        }
        Some(shuffle)
    }

    /// Moves all pixels of `src` to `dst`; both hold the same number of pixels.
    pub(super) fn run(&self, level: Level, src: &[u8], dst: &mut [u8]) {
        dispatch!(level, simd => self.kernel(simd, src, dst));
    }

    #[inline(always)]
    fn kernel<S: Simd>(&self, simd: S, src: &[u8], dst: &mut [u8]) {
        let index = u8x16::from_slice(simd, &self.index);
        let keep = u8x16::from_slice(simd, &self.keep);
        let fill = u8x16::from_slice(simd, &self.fill);
        let (src_step, dst_step) = (self.pixels * self.src_pixel, self.pixels * self.dst_pixel);
        let shuffled = |from: &[u8]| (u8x16::from_slice(simd, from).swizzle_dyn(index) & keep) | fill;
        let (mut read, mut written) = (0, 0);
        if (src_step, dst_step) == (BLOCK, BLOCK) {
            let (from, to) = (src.as_chunks::<BLOCK>().0, dst.as_chunks_mut::<BLOCK>().0);
            for (from, to) in from.iter().zip(&mut *to) {
                shuffled(from).store_slice(to);
            }
            (read, written) = (from.len() * BLOCK, to.len() * BLOCK);
        }
        // A block may hold fewer bytes than a vector: what is written past it is written again by its successor.
        while let (Some(from), Some(to)) = (src.get(read..read + BLOCK), dst.get_mut(written..written + BLOCK)) {
            shuffled(from).store_slice(to);
            read += src_step;
            written += dst_step;
        }
        for (src, dst) in src[read..].chunks_exact(self.src_pixel).zip(dst[written..].chunks_exact_mut(self.dst_pixel))
        {
            for (at, byte) in dst.iter_mut().enumerate() {
                *byte = (src[usize::from(self.index[at])] & self.keep[at]) | self.fill[at];
            }
        }
    }
}

/// Where each component of a pixel of `to` comes from, by its place in memory.
fn sources(from: PixelFormat, to: PixelFormat, opaque: bool) -> [Source; 4] {
    use Source::{Component, Max, Zero};
    let alpha = if from.has_alpha() && !opaque { Component(3) } else { Max };
    let [r, g, b, a] = match (from.channels, from.order) {
        (1, _) => [Component(0), Component(0), Component(0), alpha],
        (2, _) => [Component(0), Component(1), Zero, alpha],
        (_, ChannelOrder::Rgba) => [Component(0), Component(1), Component(2), alpha],
        (_, ChannelOrder::Bgra) => [Component(2), Component(1), Component(0), alpha],
    };
    let a = if to.has_alpha() { a } else { Max };
    match (to.channels, to.order) {
        (1 | 2, _) | (_, ChannelOrder::Rgba) => [r, g, b, a],
        (_, ChannelOrder::Bgra) => [b, g, r, a],
    }
}
