// SPDX-License-Identifier: MPL-2.0
//! What the list of names shows.

use std::fs;

use tdlink_core::segment::live_names;

use super::Name;

#[test]
fn the_list_shows_segments_and_nothing_else() {
    let (ours, theirs, directory) = (Name::new(), Name::new(), Name::new());
    let _owned = ours.create(10).unwrap();
    theirs.foreign(b"theirs");
    fs::create_dir(directory.path()).unwrap();
    let semaphore = format!("/dev/shm/sem.{}", theirs.as_str());
    fs::write(&semaphore, b"semaphore").unwrap();

    let listed = live_names();
    fs::remove_dir(directory.path()).unwrap();
    fs::remove_file(semaphore).unwrap();
    theirs.unlink();

    let mine: Vec<_> = listed
        .iter()
        .filter(|found| [&ours, &theirs, &directory].iter().any(|name| found.name.as_str().contains(name.as_str())))
        .map(|found| (found.name.as_str(), found.len, found.uid, found.writable))
        .collect();
    let uid = rustix::process::geteuid().as_raw();
    let mut expected = [(ours.as_str(), 10, uid, true), (theirs.as_str(), 6, uid, true)];
    expected.sort();
    assert_eq!(mine, expected);
}
