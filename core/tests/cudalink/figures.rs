// SPDX-License-Identifier: MPL-2.0
//! How soon a frame is noticed, and what waiting costs. Printed, not judged: figures of a busy machine mean nothing.
//! `cargo test -p tdlink-core --features test-util --release --test cudalink -- --ignored --nocapture figures`

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tdlink_core::protocol::cudalink::Wait;
use tdlink_core::segment::monotonic_ns;

use super::peer::Peer;
use super::{PATIENCE, TestName, watch};

fn processor_ns() -> i64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

#[test]
#[ignore = "prints figures"]
fn how_soon_a_frame_is_noticed() {
    for (who, frames, micros) in [("rings", 300, 16_667), ("silent", 300, 16_667), ("silent", 300, 4_000)] {
        let name = TestName::new("figures");
        let mut peer = Peer::start();
        peer.expect(&format!("offer {} 3 64 plain", *name), "Created 1");
        let mut watch = watch(&name);
        peer.order(&format!("pulse {who} {frames} {micros}"));
        let (mut late, began, busy) = (Vec::new(), Instant::now(), processor_ns());
        let mut last = 0;
        while last < frames && began.elapsed() < PATIENCE {
            if watch.wait_newer(Some(Instant::now() + Duration::from_secs(1))).unwrap() == Wait::Newer {
                let seen = monotonic_ns();
                let frame = watch.take().unwrap().unwrap();
                last = frame.index;
                late.push(seen.saturating_sub(frame.stamp.unwrap()) / 1000);
            }
        }
        let share = (processor_ns() - busy) as f64 / began.elapsed().as_nanos() as f64 * 100.0;
        late.drain(..late.len() / 8);
        late.sort_unstable();
        let (half, most) = (late[late.len() / 2], late[late.len() * 99 / 100]);
        println!("{who}, every {micros} us: p50 {half} us, p99 {most} us, {share:.2} % of a processor");
        assert_eq!(peer.answer(), "done");
    }
}
