// SPDX-License-Identifier: MPL-2.0
//! How a reader waits for a writer's copy.

use std::fs;
use std::time::{Duration, Instant};

use super::TestName;
use super::peer::Peer;

/// A copy that takes long is not asked for all the time, and is noticed soon after it is done.
#[test]
#[ignore = "needs the emulated driver"]
fn a_slow_copy_is_asked_for_seldom() {
    let name = TestName::new("asked");
    let stats = std::env::temp_dir().join(format!("tdlink-cudalink-asked-{}", std::process::id()));
    let path = stats.display().to_string();
    let mut sender = Peer::with(&[("EVENT_DELAY_US", "100000")]);
    let mut receiver = Peer::with(&[("STATS", &path)]);
    sender.expect(&format!("produce {} 3 64 48 u8 4 plain", *name), "ready");
    receiver.expect(&format!("consume {}", *name), "ready");
    let mut waited = Duration::ZERO;
    for number in 1..=5 {
        sender.expect(&format!("send {number}"), &number.to_string());
        let began = Instant::now();
        receiver.expect("await", "complete");
        waited += began.elapsed();
        receiver.expect("receive", &format!("{number} {number} whole right"));
    }
    receiver.expect("drop", "0 imports");
    receiver.exit();
    let text = fs::read_to_string(&stats).unwrap();
    fs::remove_file(&stats).unwrap();
    let queries = text.lines().find_map(|line| line.strip_prefix("cuEventQuery ")).unwrap();
    let queries: u64 = queries.parse().unwrap();
    // One each millisecond, some more at the beginning; in steps of 50 us it would be near 20.
    let most = 5 * 60 + 2 * waited.as_millis() as u64;
    assert!((5..=most).contains(&queries), "{queries} questions for five frames in {waited:?}");
    assert!(waited >= Duration::from_millis(500), "{waited:?}: the copies were not slow");
}
