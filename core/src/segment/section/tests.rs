// SPDX-License-Identifier: MPL-2.0

use super::*;

fn name(test: &str) -> SegmentName {
    SegmentName::new(&format!("tdlink-section-{test}-{}", std::process::id())).unwrap()
}

fn create(name: &SegmentName, len: usize) -> Result<Section, SegmentError> {
    Section::create(name, len, &CreateOptions::default())
}

fn open(name: &SegmentName, access: Access) -> Result<Section, SegmentError> {
    Section::open(name, access, &OpenOptions::default())
}

#[test]
fn a_name_goes_with_the_last_who_has_it() {
    let name = name("last");
    let maker = create(&name, 76).unwrap();
    let (first, second) = (open(&name, Access::Read).unwrap(), open(&name, Access::ReadWrite).unwrap());
    drop(maker);
    assert!(matches!(create(&name, 76), Err(SegmentError::Exists { .. })), "two readers have it");
    drop(first);
    open(&name, Access::Read).unwrap();
    drop(second);
    assert!(matches!(open(&name, Access::Read), Err(SegmentError::NotFound { .. })), "nobody has it");
    create(&name, 100).unwrap();
}

#[test]
fn all_holders_see_the_same_bytes() {
    let name = name("bytes");
    let maker = create(&name, 76).unwrap();
    let (reader, writer) = (open(&name, Access::Read).unwrap(), open(&name, Access::ReadWrite).unwrap());
    assert!(reader.segment().len() >= 76);
    writer.segment().write(8, &[1, 2, 3]).unwrap();
    let mut bytes = [0; 3];
    reader.segment().read(8, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 3]);
    maker.segment().read(8, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 3]);
    assert!(reader.segment().write(8, &[0]).is_err(), "a reader cannot write");
}

#[test]
fn holders_that_come_and_go_at_once_leave_nothing() {
    let name = name("rush");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    match create(&name, 10) {
                        Ok(_) | Err(SegmentError::Exists { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                    match open(&name, Access::Read) {
                        Ok(_) | Err(SegmentError::NotFound { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert!(matches!(open(&name, Access::Read), Err(SegmentError::NotFound { .. })));
    #[cfg(target_os = "linux")]
    assert!(!std::path::Path::new("/dev/shm").join(name.as_str()).exists());
}

#[test]
#[cfg(target_os = "linux")]
fn what_nobody_has_open_is_not_there() {
    let name = name("stale");
    let path = std::path::Path::new("/dev/shm").join(name.as_str());
    std::fs::write(&path, [7; 10]).unwrap();
    assert!(matches!(open(&name, Access::Read), Err(SegmentError::NotFound { .. })));
    assert!(!path.exists(), "it is removed by whoever meets it");
    std::fs::write(&path, [7; 10]).unwrap();
    let new = create(&name, 20).unwrap();
    let mut bytes = [1; 20];
    new.segment().read(0, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 20]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_without_the_lock_counts_too() {
    let name = name("lockless");
    let path = std::path::Path::new("/dev/shm").join(name.as_str());
    std::fs::write(&path, [7; 10]).unwrap();
    let open_elsewhere = std::fs::File::open(&path).unwrap();
    let mut foreign = std::process::Command::new("sleep").arg("600").stdin(open_elsewhere).spawn().unwrap();
    assert!(matches!(create(&name, 10), Err(SegmentError::Exists { .. })));
    drop(open(&name, Access::Read).unwrap());
    assert!(path.exists(), "nor is it taken away from under it");
    foreign.kill().unwrap();
    foreign.wait().unwrap();
    assert!(matches!(open(&name, Access::Read), Err(SegmentError::NotFound { .. })));
}

#[test]
#[cfg(target_os = "linux")]
fn a_forked_child_holds_nothing() {
    let name = name("fork");
    let mut maker = Some(create(&name, 10).unwrap());
    // SAFETY: the child calls what only calls the kernel, and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(maker.take());
        // SAFETY: nothing of the parent's is left to be ended.
        unsafe { libc::_exit(0) };
    }
    let mut status = -1;
    // SAFETY: `status` outlives the call.
    let waited = unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!((waited, status), (child, 0));
    assert!(matches!(create(&name, 10), Err(SegmentError::Exists { .. })));
    drop(maker);
    create(&name, 10).unwrap();
}
