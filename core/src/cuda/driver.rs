// SPDX-License-Identifier: MPL-2.0
//! The driver library: loaded once per process, checked, and never unloaded.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::sync::OnceLock;

use libloading::Library;

use super::api::Api;
use super::error::{CudaError, DriverError, code};
use super::kernels::UNDERSTOOD_SINCE;

/// What the driver's library is called.
#[cfg(windows)]
const LIBRARY: &str = "nvcuda.dll";
/// What the driver's library is called.
#[cfg(not(windows))]
const LIBRARY: &str = "libcuda.so.1";

/// Whether events can be shared between processes. `CU_DEVICE_ATTRIBUTE_IPC_EVENT_SUPPORTED`, since 12.0.
const IPC_EVENT_SUPPORTED: u32 = 125;
/// The first version whose drivers know that attribute.
const ATTRIBUTE_SINCE: i32 = 12_000;

/// The driver of this process.
pub struct Driver {
    pub(super) api: Api,
    version: i32,
    devices: i32,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("version", &self.version).field("devices", &self.devices).finish_non_exhaustive()
    }
}

/// The driver: found, checked symbol by symbol and started when it is first asked for. A failure is kept, too: a driver
/// that is installed later is seen by the next process.
///
/// # Errors
/// It is not there, lacks a function, or does not start.
pub fn driver() -> Result<&'static Driver, DriverError> {
    static DRIVER: OnceLock<Result<Driver, DriverError>> = OnceLock::new();
    DRIVER.get_or_init(load).as_ref().map_err(Clone::clone)
}

fn load() -> Result<Driver, DriverError> {
    if !cfg!(any(target_os = "linux", windows)) {
        return Err(DriverError::NoSystem { system: std::env::consts::OS });
    }
    // SAFETY: the driver's library is made to be loaded at any time; what its initialisers do is NVIDIA's.
    let library = unsafe { Library::new(LIBRARY) };
    let library = library.map_err(|why| DriverError::NotThere { library: LIBRARY, why: reason(&why) })?;
    // Threads of the driver run as long as the process does.
    let library: &'static Library = Box::leak(Box::new(library));
    let look_up = |name: &'static CStr| {
        // SAFETY: the symbol is taken as an address only.
        let symbol = unsafe { library.get::<*const c_void>(name.to_bytes_with_nul()) }.ok()?;
        // SAFETY: the library stays.
        unsafe { symbol.try_as_raw_ptr() }.map(|address| address.cast_const().cast())
    };
    Driver::start(look_up)
}

/// The loader's own words, without the library's around them.
fn reason(error: &libloading::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), ToString::to_string)
}

impl Driver {
    fn start(look_up: impl FnMut(&'static CStr) -> Option<*const c_void>) -> Result<Self, DriverError> {
        // SAFETY: these are the driver's functions, and its library is never unloaded.
        let api = unsafe { Api::load(look_up) };
        let api = api.map_err(|symbol| DriverError::MissingSymbol { library: LIBRARY, symbol })?;
        let mut driver = Self { api, version: 0, devices: 0 };
        // SAFETY: may be called at any time; the flags must be 0.
        driver.started(unsafe { (api.cuInit)(0) })?;
        // SAFETY: there is room for the answer.
        let said = unsafe { (api.cuDriverGetVersion)(&mut driver.version) };
        driver.started(said)?;
        // SAFETY: there is room for the answer.
        let said = unsafe { (api.cuDeviceGetCount)(&mut driver.devices) };
        driver.started(said)?;
        if driver.devices < 1 { Err(DriverError::NoDevice) } else { Ok(driver) }
    }

    fn started(&self, said: u32) -> Result<(), DriverError> {
        Err(match said {
            code::SUCCESS => return Ok(()),
            code::STUB_LIBRARY => DriverError::Stub { library: LIBRARY },
            code::NO_DEVICE => DriverError::NoDevice,
            code::SYSTEM_DRIVER_MISMATCH => DriverError::Mismatch,
            said => DriverError::Init { code: said, what: self.describe(said) },
        })
    }

    /// Names of all functions that the driver must have.
    pub const fn symbols() -> &'static [&'static str] {
        Api::SYMBOLS
    }

    /// The CUDA version that the driver speaks: 1000 times the major number plus 10 times the minor one, 12040 for 12.4.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// Whether it understands the kernels that are compiled here. Without them rows can be copied as they are.
    pub fn runs_kernels(&self) -> bool {
        self.version >= UNDERSTOOD_SINCE
    }

    /// GPUs that this process sees. They are numbered from 0.
    pub fn devices(&self) -> i32 {
        self.devices
    }

    /// What a GPU is called.
    ///
    /// # Errors
    /// There is no such GPU.
    pub fn device_name(&self, device: i32) -> Result<String, CudaError> {
        let mut name = [0u8; 256];
        let device = self.device(device)?;
        // SAFETY: there is room for as many bytes as are said.
        let said = unsafe { (self.api.cuDeviceGetName)(name.as_mut_ptr().cast(), name.len() as c_int, device) };
        self.check("cuDeviceGetName", said)?;
        let text = CStr::from_bytes_until_nul(&name).unwrap_or_default();
        Ok(text.to_string_lossy().into_owned())
    }

    /// Whether a GPU's events can be shared between processes. (In virtual machines of Windows they cannot.)
    ///
    /// # Errors
    /// There is no such GPU.
    pub fn shares_events(&self, device: i32) -> Result<bool, CudaError> {
        let device = self.device(device)?;
        if self.version < ATTRIBUTE_SINCE {
            return Ok(true);
        }
        let mut value = 0;
        // SAFETY: there is room for the answer.
        let said = unsafe { (self.api.cuDeviceGetAttribute)(&mut value, IPC_EVENT_SUPPORTED, device) };
        self.check("cuDeviceGetAttribute", said)?;
        Ok(value != 0)
    }

    /// The driver's handle of a GPU.
    pub(super) fn device(&self, number: i32) -> Result<c_int, CudaError> {
        let mut device = 0;
        // SAFETY: there is room for the answer.
        self.check("cuDeviceGet", unsafe { (self.api.cuDeviceGet)(&mut device, number) })?;
        Ok(device)
    }

    /// Turns what a call of the driver said into a result.
    pub(super) fn check(&self, call: &'static str, said: u32) -> Result<(), CudaError> {
        match said {
            code::SUCCESS => Ok(()),
            said if code::is_lost(said) => Err(CudaError::Lost { call, what: self.describe(said) }),
            said => Err(CudaError::Failed { call, code: said, what: self.describe(said) }),
        }
    }

    /// Turns the answer to "is it done?" into a result.
    pub(super) fn is_done(&self, call: &'static str, said: u32) -> Result<bool, CudaError> {
        match said {
            code::NOT_READY => Ok(false),
            said => self.check(call, said).map(|()| true),
        }
    }

    /// The driver's own words for a number.
    pub(super) fn describe(&self, said: u32) -> String {
        let mut text: *const c_char = std::ptr::null();
        // SAFETY: there is room for the answer.
        let outcome = unsafe { (self.api.cuGetErrorString)(said, &mut text) };
        if outcome != code::SUCCESS || text.is_null() {
            return format!("error {said}");
        }
        // SAFETY: the driver gives a text of its own that ends in 0 and stays.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
