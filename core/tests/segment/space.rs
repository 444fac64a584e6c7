// SPDX-License-Identifier: MPL-2.0
//! A shared memory file system that is full.

use super::peer::Peer;

#[test]
fn a_full_file_system_is_an_error_and_never_a_signal() {
    let mut peer = match Peer::start_apart() {
        Ok(peer) => peer,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let refusal = peer.ask("create big 2097152 gently");
    assert!(refusal.contains("2097152 bytes wanted, 1048576 available"), "{refusal}");
    assert_eq!(peer.ask("list /dev/shm"), "[]", "a refused segment leaves nothing");

    // What was reserved can be written when everything else is gone.
    assert_eq!(peer.ask("create small 524288 gently"), "Created");
    let refusal = peer.ask("write /dev/shm/filler 1048576");
    assert!(refusal.starts_with("refused"), "{refusal}");
    assert_eq!(peer.ask("fill 7"), "done");
    assert_eq!(peer.ask("keep"), "Still");
    assert_eq!(peer.ask("drop"), "done");
}
