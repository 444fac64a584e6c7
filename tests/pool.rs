// SPDX-License-Identifier: MPL-2.0
//! The pool that a sink with a ring offers to upstream.
#![cfg(target_os = "linux")]

mod common;

use common::name::Name;
use common::peer::Peer;
use common::ring::{fed, info, numbered};
use common::{PATIENCE, poll};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};

/// The pool that a sink offers for frames of `info`.
fn pool_of(sink: &gst::Element, info: &VideoInfo) -> gst::BufferPool {
    let caps = info.to_caps().expect("caps of an info");
    let mut query = gst::query::Allocation::new(Some(&caps), true);
    let pad = sink.static_pad("sink").expect("a sink has a pad");
    assert!(pad.query(&mut query), "the sink answers");
    let offered = query.allocation_pools().find_map(|(pool, ..)| pool).expect("it offers a pool");
    offered.set_active(true).expect("it can be used");
    offered
}

#[test]
fn a_pool_keeps_its_word_about_alignment_or_gives_none() {
    let name = Name::new("aligned");
    let info = info(VideoFormat::Rgba, 64, 64);
    let (sink, feed) = fed(&name, &info, "slots=4");
    feed.push_buffer(numbered(&info, 0)).expect("it is taken");
    sink.wait_message("tdlink-published");
    let pool = pool_of(&sink.element("k"), &info);
    pool.set_active(false).expect("it can be stopped");
    let asked = |align, padding| {
        let mut config = pool.config();
        config.set_params(Some(&info.to_caps().expect("caps of an info")), info.size() as u32, 0, 0);
        let params = gst::AllocationParams::new(gst::MemoryFlags::empty(), align, 0, padding);
        config.set_allocator(gst::Allocator::NONE, Some(&params));
        pool.set_config(config)
    };
    assert!(asked(0, 1).is_err(), "behind a slot lies the next one");
    assert!(asked(16383, 0).is_err(), "a mapping begins at a page");
    asked(1023, 0).expect("slots are aligned as asked");
    pool.set_active(true).expect("it can be used");
    // More than there are slots: private buffers keep the same word.
    let buffers: Vec<gst::Buffer> = (0..8).map(|_| pool.acquire_buffer(None).expect("a buffer")).collect();
    for buffer in &buffers {
        let map = buffer.map_readable().expect("system memory");
        assert_eq!(map.as_ptr().addr() % 1024, 0);
    }
    drop(buffers);
    sink.stop();
}

#[test]
fn other_caps_come_while_upstream_waits_for_a_slot() {
    let name = Name::new("waiting");
    let (large, small) = (info(VideoFormat::Rgba, 640, 480), info(VideoFormat::Rgba, 64, 64));
    let (sink, feed) = fed(&name, &large, "slots=3 delivery=lossless lossless-timeout=2000");
    feed.push_buffer(numbered(&large, 0)).expect("it is taken");
    sink.wait_message("tdlink-published");
    let mut stopped = Peer::launch(&format!("tdshmsrc shm-name={name} ! fakesink"));
    stopped.hear("tdlink-connected", PATIENCE);
    stopped.signal("-STOP");
    let pool = pool_of(&sink.element("k"), &large);
    let waiter = std::thread::spawn({
        let pool = pool.clone();
        move || {
            // All of them, until there is nothing but the wait; private memory ends it.
            let mut buffers: Vec<gst::Buffer> = Vec::new();
            while buffers.len() < 8 {
                buffers.push(pool.acquire_buffer(None).expect("a buffer, whatever its memory"));
            }
            buffers.iter().map(|buffer| buffer.size()).collect::<Vec<_>>()
        }
    });
    feed.push_buffer(numbered(&large, 1)).expect("it is taken");
    feed.push_buffer(numbered(&large, 2)).expect("it is taken");
    feed.set_caps(Some(&small.to_caps().expect("caps of an info")));
    feed.push_buffer(numbered(&small, 3)).expect("it is taken");
    poll("the frame of the other caps", PATIENCE, || (sink.stat("k", "frames") >= 4).then_some(()));
    assert_eq!(waiter.join().expect("it ends"), [large.size(); 8]);
    stopped.kill();
    sink.assert_no_error();
    sink.stop();
    drop(pool);
}
