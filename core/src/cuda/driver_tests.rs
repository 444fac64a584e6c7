// SPDX-License-Identifier: MPL-2.0
//! A driver that is not as it should be: each time an error that says so.

use super::*;

/// Stands for what is looked up and not called.
extern "C" fn fine() -> u32 {
    0
}

extern "C" fn ready(_: u32) -> u32 {
    0
}

extern "C" fn two_devices(count: *mut c_int) -> u32 {
    // SAFETY: the caller has room for the answer.
    unsafe { count.write(2) };
    0
}

extern "C" fn version(version: *mut c_int) -> u32 {
    // SAFETY: the caller has room for the answer.
    unsafe { version.write(12_040) };
    0
}

extern "C" fn no_text(_: u32, text: *mut *const c_char) -> u32 {
    // SAFETY: the caller has room for the answer.
    unsafe { text.write(std::ptr::null()) };
    1
}

macro_rules! saying {
    ($($name:ident $code:literal),*) => { $(extern "C" fn $name(_: u32) -> u32 { $code })* };
}

saying!(stub 34, nobody 100, mismatch 803, strange 12_345);

fn start(init: *const c_void, hidden: &str) -> Result<Driver, DriverError> {
    Driver::start(|name| match name.to_str().unwrap() {
        name if name == hidden => None,
        "cuInit" => Some(init),
        "cuDeviceGetCount" => Some(two_devices as *const c_void),
        "cuDriverGetVersion" => Some(version as *const c_void),
        "cuGetErrorString" => Some(no_text as *const c_void),
        _ => Some(fine as *const c_void),
    })
}

#[test]
fn a_driver_that_has_everything_starts() {
    let driver = start(ready as *const c_void, "").unwrap();
    assert_eq!((driver.devices(), driver.version()), (2, 12_040));
}

#[test]
fn a_driver_without_one_of_its_functions_is_an_error_that_names_it() {
    for hidden in Api::SYMBOLS {
        let error = start(ready as *const c_void, hidden).unwrap_err();
        assert_eq!(error, DriverError::MissingSymbol { library: LIBRARY, symbol: hidden });
        assert!(error.to_string().contains(hidden), "{error}");
    }
}

#[test]
fn the_toolkits_stub_is_told_from_a_driver() {
    assert_eq!(start(stub as *const c_void, "").unwrap_err(), DriverError::Stub { library: LIBRARY });
}

#[test]
fn what_the_driver_says_at_its_start_becomes_an_error_that_helps() {
    assert_eq!(start(nobody as *const c_void, "").unwrap_err(), DriverError::NoDevice);
    assert_eq!(start(mismatch as *const c_void, "").unwrap_err(), DriverError::Mismatch);
    let strange = start(strange as *const c_void, "").unwrap_err();
    assert_eq!(strange, DriverError::Init { code: 12_345, what: "error 12345".to_owned() });
}

#[test]
fn a_number_that_no_list_has_is_an_error_like_any_other() {
    let driver = start(ready as *const c_void, "").unwrap();
    let said = driver.check("cuEventRecord", 77_777);
    assert_eq!(said, Err(CudaError::Failed { call: "cuEventRecord", code: 77_777, what: "error 77777".to_owned() }));
    assert!(matches!(driver.check("cuEventRecord", 700), Err(CudaError::Lost { .. })));
    assert_eq!(driver.is_done("cuEventQuery", 600), Ok(false));
    assert_eq!(driver.is_done("cuEventQuery", 0), Ok(true));
}

/// Also where there is a GPU: then nothing is wrong.
#[test]
#[cfg_attr(miri, ignore = "loads a library")]
fn asking_for_the_driver_never_panics_and_says_the_same_again() {
    match (driver(), driver()) {
        (Ok(once), Ok(again)) => assert!(std::ptr::eq(once, again)),
        (Err(once), Err(again)) => assert_eq!(once, again),
        mixed => panic!("{mixed:?}"),
    }
}
