// SPDX-License-Identifier: MPL-2.0
//! Frames between processes: whole, and the right ones.

use super::Name;
use super::peer::{Peer, Seen};

/// Width of frames that take long enough to be overwritten in the middle.
const WIDE: u32 = 2048;

/// Runs a flood for readers with so many leases each until they have seen `frames` and given up `torn` copies.
fn flood(how: &str, width: u32, leases: &[u32], frames: u64, torn: u64) -> Vec<Seen> {
    let name = Name::new();
    let mut readers: Vec<_> = leases.iter().map(|&leases| Peer::reading(&name.0, leases)).collect();
    let mut producer = Peer::flooding(&name.0, how, width, 1);
    let enough = |seen: &Seen| seen.frames >= frames && seen.torn >= torn;
    let seen = readers.iter_mut().map(|reader| reader.until("frames", enough)).collect();
    println!("{how}, {} published: {seen:?}", producer.published());
    // Killed, both; the last of them to end in order cleans up.
    producer.kill();
    readers.into_iter().for_each(Peer::kill);
    drop(name.produce(tdlink_core::protocol::control::ProducerOptions::latest(1)).unwrap());
    seen
}

#[test]
fn a_copy_without_a_lease_is_never_torn_though_the_producer_overwrites_it() {
    // Without a copy that was overwritten and given up this would show nothing.
    flood("latest-1", WIDE, &[0], 200, 1);
    flood("latest-3", WIDE, &[0, 0], 200, 0);
}

#[test]
fn leased_frames_stay_whole_under_a_flood() {
    // Each looks at a leased frame when it takes it, and again when it gives it back.
    let seen = flood("latest-5", WIDE, &[1, 2, 0], 200, 0);
    assert_eq!(seen.iter().map(|seen| seen.granted).collect::<Vec<_>>(), [1, 2, 0]);
}

#[test]
fn lossless_readers_see_every_frame() {
    for seen in flood("lossless-5", 256, &[1, 0, 1], 3000, 0) {
        assert_eq!(seen.skipped, 0);
        assert_eq!(seen.torn, 0);
    }
}
