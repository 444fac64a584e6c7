// SPDX-License-Identifier: MPL-2.0
//! Tightly packed frames to and from GStreamer's buffers with their padded rows.

use gst_video::prelude::*;
use gst_video::{VideoFrameRef, VideoInfo};

/// Bytes of one row without padding. Every format of ours has one plane.
fn row_bytes(info: &VideoInfo) -> usize {
    info.width() as usize * info.comp_pstride(0) as usize
}

/// A buffer with `packed` in it, rows `stride` bytes apart by GStreamer's own rule for `info`.
pub fn buffer(info: &VideoInfo, packed: &[u8]) -> gst::Buffer {
    let mut buffer = gst::Buffer::with_size(info.size()).expect("the buffer can be allocated");
    fill(&mut buffer, info, packed);
    buffer
}

/// The same with rows `extra` bytes further apart and `skip` bytes before the first, told by a VideoMeta only.
pub fn strided_buffer(info: &VideoInfo, packed: &[u8], extra: usize, skip: usize) -> gst::Buffer {
    let stride = info.stride()[0] + i32::try_from(extra).expect("a small number");
    let size = skip + stride as usize * info.height() as usize;
    let mut buffer = gst::Buffer::from_mut_slice(vec![0xEE; size]);
    let meta = buffer.get_mut().expect("nobody else has it");
    gst_video::VideoMeta::add_full(
        meta,
        gst_video::VideoFrameFlags::empty(),
        info.format(),
        info.width(),
        info.height(),
        &[skip],
        &[stride],
    )
    .expect("the meta fits the buffer");
    fill(&mut buffer, info, packed);
    buffer
}

fn fill(buffer: &mut gst::Buffer, info: &VideoInfo, packed: &[u8]) {
    let bytes = row_bytes(info);
    assert_eq!(packed.len(), bytes * info.height() as usize, "the packed frame has the size of {info:?}");
    let buffer = buffer.get_mut().expect("nobody else has it");
    let mut frame = VideoFrameRef::from_buffer_ref_writable(buffer, info).expect("the buffer holds the frame");
    let stride = frame.plane_stride()[0] as usize;
    let plane = frame.plane_data_mut(0).expect("there is a plane");
    for (to, from) in plane.chunks_mut(stride).zip(packed.chunks(bytes)) {
        to[..bytes].copy_from_slice(from);
    }
}

/// The frame in `buffer`, tightly packed.
pub fn packed(buffer: &gst::BufferRef, info: &VideoInfo) -> Vec<u8> {
    let frame = VideoFrameRef::from_buffer_ref_readable(buffer, info).expect("the buffer holds a frame of its caps");
    let bytes = row_bytes(info);
    let stride = frame.plane_stride()[0] as usize;
    let plane = frame.plane_data(0).expect("there is a plane");
    let mut packed = Vec::with_capacity(bytes * info.height() as usize);
    plane.chunks(stride).take(info.height() as usize).for_each(|row| packed.extend_from_slice(&row[..bytes]));
    packed
}

/// The next frame of the appsink `name`, tightly packed, with its caps.
pub fn pull(run: &super::run::Run, name: &str) -> (Vec<u8>, VideoInfo) {
    let sink = run.element(name).downcast::<gst_app::AppSink>().expect("it is an appsink");
    let patience = gst::ClockTime::from_seconds(super::PATIENCE.as_secs());
    let Some(sample) = sink.try_pull_sample(patience) else {
        panic!("no frame reached {name}; it was said: {:#?}; messages: {:#?}", run.sayings(), run.history());
    };
    let info = VideoInfo::from_caps(sample.caps().expect("a sample has caps")).expect("they are video caps");
    (packed(sample.buffer().expect("a sample has a buffer"), &info), info)
}

/// The number that the peers' `loop` fills a frame with; none for a frame that mixes two.
pub fn whole(bytes: &[u8]) -> Option<u32> {
    let (first, _) = bytes.split_first_chunk().expect("a frame has a pixel");
    // all words are the same exactly if the frame is itself, one word further on
    (bytes[4..] == bytes[..bytes.len() - 4]).then(|| u32::from_le_bytes(*first))
}

/// The same of a frame that must be whole.
pub fn number(bytes: &[u8]) -> u32 {
    whole(bytes).expect("the frame is whole: all of it is one number")
}
