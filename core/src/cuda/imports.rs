// SPDX-License-Identifier: MPL-2.0
//! Memory of other processes, opened once in this one however many look at it.
//!
//! The driver's rules: all memory that one process exports from one GPU may be opened by **one** context of each other
//! process, and by the process itself not at all. So this table knows every import of the process by GPU and handle. The
//! first import on a GPU settles the context, and as long as one lives all others go there; what has been opened is
//! shared, and closed with the last that uses it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_char;
use std::fmt;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys::CUipcMemHandle;

use super::context::{Context, report};
use super::copy::Plane;
use super::error::{CudaError, code};
use super::memory::address_range;

/// Access to another GPU's memory is set up when it is first used; the only flag there is.
const LAZY_ENABLE_PEER_ACCESS: u32 = 1;

/// What another process opens memory by: 64 bytes that only drivers understand.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpcMemHandle(pub [u8; 64]);

/// What another process opens an event by: 64 bytes that only drivers understand.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpcEventHandle(pub [u8; 64]);

impl fmt::Debug for IpcMemHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IpcMemHandle({})", hex(&self.0))
    }
}

impl fmt::Debug for IpcEventHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IpcEventHandle({})", hex(&self.0))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The table of this process.
static TABLE: LazyLock<Mutex<HashMap<Key, Import>>> = LazyLock::new(Mutex::default);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    device: i32,
    handle: IpcMemHandle,
}

/// Memory that is open.
#[derive(Debug)]
struct Import {
    context: Context,
    ptr: u64,
    len: usize,
    users: usize,
}

fn table() -> MutexGuard<'static, HashMap<Key, Import>> {
    // Every change of it is whole before anything can panic.
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The process's imports as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Imports;

impl Imports {
    /// The context in which imports of a GPU live now, if there are any: other users of that GPU do best to share it.
    pub fn context(device: i32) -> Option<Context> {
        table().iter().find(|(key, _)| key.device == device).map(|(_, import)| import.context.clone())
    }

    /// Memory that is open now.
    pub fn count() -> usize {
        table().len()
    }
}

/// Memory of another process. It stays open as long as this value or a clone lives, whatever becomes of its owner.
pub struct Imported {
    key: Key,
    context: Context,
    ptr: u64,
    len: usize,
}

impl fmt::Debug for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imported").field("ptr", &self.ptr).field("len", &self.len).finish_non_exhaustive()
    }
}

impl Imported {
    /// Opens what a handle leads to, or shares it if it is open. `context` is used if no other one of its GPU has imports
    /// already: [`Imported::context`] tells.
    ///
    /// # Errors
    /// The handle leads to nothing, to memory of this very process, or to a GPU that this one cannot reach.
    pub fn open(context: &Context, handle: &IpcMemHandle) -> Result<Self, CudaError> {
        let key = Key { device: context.device(), handle: *handle };
        // Held while the driver opens or closes, so that nothing is ever open twice.
        let mut table = table();
        let settled = table.iter().find(|(known, _)| known.device == key.device);
        let context = settled.map_or(context, |(_, import)| &import.context).clone();
        let import = match table.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let (ptr, len) = open(&context, handle)?;
                entry.insert(Import { context, ptr, len, users: 0 })
            }
        };
        import.users += 1;
        Ok(Self { key, context: import.context.clone(), ptr: import.ptr, len: import.len })
    }

    /// Its address on the GPU.
    pub fn ptr(&self) -> u64 {
        self.ptr
    }

    /// Bytes from there to the end of its owner's allocation.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is not one byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The context in which it is open.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Rows in it, from its first byte on.
    ///
    /// # Errors
    /// They do not fit.
    pub fn plane(&self, pitch: usize, row_bytes: usize, rows: usize) -> Result<Plane, CudaError> {
        Plane::within(self.ptr, self.len, pitch, row_bytes, rows)
    }
}

impl Clone for Imported {
    fn clone(&self) -> Self {
        if let Some(import) = table().get_mut(&self.key) {
            import.users += 1;
        }
        Self { key: self.key, context: self.context.clone(), ptr: self.ptr, len: self.len }
    }
}

impl Drop for Imported {
    fn drop(&mut self) {
        // Its context may be the last of its kind, and must not go while the table is held: its owner is anybody.
        drop(close(self.key));
    }
}

/// One user less; closes what has none left, and gives it back.
fn close(key: Key) -> Option<Import> {
    let mut table = table();
    let Entry::Occupied(mut entry) = table.entry(key) else { return None };
    entry.get_mut().users -= 1;
    if entry.get().users > 0 {
        return None;
    }
    let import = entry.remove();
    let driver = import.context.driver();
    if let Ok(_current) = import.context.enter() {
        // SAFETY: this process opened it once and closes it once. Its owner may be dead, which closing allows.
        report(driver, "cuIpcCloseMemHandle", unsafe { (driver.api.cuIpcCloseMemHandle)(import.ptr) });
    }
    Some(import)
}

fn open(context: &Context, handle: &IpcMemHandle) -> Result<(u64, usize), CudaError> {
    let (driver, mut ptr) = (context.driver(), 0);
    let _current = context.enter()?;
    let raw = CUipcMemHandle { reserved: handle.0.map(|byte| byte as c_char) };
    // SAFETY: there is room for the answer; any 64 bytes are a handle, if perhaps not a valid one.
    let said = unsafe { (driver.api.cuIpcOpenMemHandle_v2)(&mut ptr, raw, LAZY_ENABLE_PEER_ACCESS) };
    match said {
        code::INVALID_CONTEXT => return Err(CudaError::OwnProcess),
        code::OUT_OF_MEMORY => return Err(CudaError::OutOfMemory { wanted: 0 }),
        said if said != code::SUCCESS && !code::is_lost(said) => {
            return Err(CudaError::DeadHandle { code: said, what: driver.describe(said) });
        }
        said => driver.check("cuIpcOpenMemHandle", said)?,
    }
    match address_range(context, ptr) {
        Ok((base, len)) => Ok((ptr, len.saturating_sub((ptr - base) as usize))),
        Err(error) => {
            // SAFETY: opened above, and nobody knows of it.
            report(driver, "cuIpcCloseMemHandle", unsafe { (driver.api.cuIpcCloseMemHandle)(ptr) });
            Err(error)
        }
    }
}
