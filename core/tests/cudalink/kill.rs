// SPDX-License-Identifier: MPL-2.0
//! Producers that are killed at any instant: the next one finds its way, and no reader is led astray.

use std::time::{Duration, Instant};

use tdlink_core::protocol::cudalink::{ConsumeError, Interrupt, Wait, Watch};
use tdlink_core::segment::OpenOptions;

use super::peer::Peer;
use super::{PATIENCE, TestName, described};

#[test]
fn a_producer_that_is_killed_at_any_instant_leaves_a_name_that_the_next_one_takes() {
    kill("kills", 25);
}

#[test]
#[ignore = "takes half a minute"]
fn hundreds_of_kills() {
    kill("hundreds", 200);
}

fn kill(label: &str, rounds: u64) {
    let name = TestName::new(label);
    let mut reader: Option<Watch> = None;
    let mut generations = Vec::new();
    for round in 0..rounds {
        let slots = [3, 3, 2, 4][round as usize % 4];
        let mut peer = Peer::start();
        let answer = peer.ask(&format!("offer {} {slots} {} plain", *name, 64 + round));
        assert!(!answer.starts_with("error"), "round {round}: {answer}");
        peer.order("flood");
        let began = Instant::now();
        let (until, mut frames) = (Duration::from_micros(round * 9_973 % 5000), 0);
        while frames == 0 || began.elapsed() < until {
            assert!(began.elapsed() < PATIENCE, "round {round}: no frame comes");
            let Some(watch) = &mut reader else {
                match Watch::attach(&name, &OpenOptions::default(), Interrupt::new()) {
                    Ok(watch) => reader = Some(watch),
                    Err(error) => assert!(error.may_pass(), "round {round}: {error}"),
                }
                continue;
            };
            match watch.wait_newer(Some(Instant::now() + Duration::from_millis(10))) {
                Ok(Wait::Newer) => {
                    let Some(frame) = watch.take().unwrap() else { continue };
                    if watch.header().description == Some(described(64 + round as u32)) {
                        assert!(frame.slot < slots);
                        frames += 1;
                    }
                }
                Ok(Wait::Respec) => generations.push(watch.header().generation),
                Ok(Wait::Deadline) => {}
                Ok(_) | Err(ConsumeError::NotReady { .. } | ConsumeError::Closed { .. }) => reader = None,
                Err(error) => panic!("round {round}: {error}"),
            }
        }
        peer.kill();
    }
    assert!(generations.is_sorted(), "{generations:?}");
}
