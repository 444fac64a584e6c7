// SPDX-License-Identifier: MPL-2.0
//! Memory of other processes, opened once in this one however many look at it.
//!
//! The driver's rules: all memory that one process exports from one GPU may be opened by **one** context of each other
//! process, and by the process itself not at all. So this table knows every import of the process by GPU and handle. The
//! first import on a GPU settles the context, and as long as one lives all others go there; what has been opened is
//! shared, and closed with the last that uses it.

mod table;

use std::ffi::c_char;
use std::fmt;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use cudarc::driver::sys::CUipcMemHandle;

use super::context::{Context, report};
use super::copy::Plane;
use super::error::{CudaError, code};
use super::looks::Usual;
use super::memory::address_range;
use super::stream::{Event, Stream};
use table::Table;

/// Access to another GPU's memory is set up when it is first used; the only flag there is.
const LAZY_ENABLE_PEER_ACCESS: u32 = 1;

/// How long the GPU is waited for before memory is closed: longer than any frame's work takes.
const PATIENCE: Duration = Duration::from_secs(2);

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
static TABLE: LazyLock<Table<IpcMemHandle, Context, Memory>> = LazyLock::new(Table::default);

/// Memory that is open.
#[derive(Debug, Clone, Copy)]
struct Memory {
    ptr: u64,
    len: usize,
}

/// The process's imports as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Imports;

impl Imports {
    /// The context in which imports of a GPU live now, if there are any: other users of that GPU do best to share it.
    pub fn context(device: i32) -> Option<Context> {
        TABLE.context(device)
    }

    /// Memory that is open now.
    pub fn count() -> usize {
        TABLE.count()
    }
}

/// Memory of another process. It stays open as long as this value or a clone lives, whatever becomes of its owner.
pub struct Imported {
    key: (i32, IpcMemHandle),
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
        let key = (context.device(), *handle);
        let (context, Memory { ptr, len }) = TABLE.get(key, context, |context| open(context, handle))?;
        Ok(Self { key, context, ptr, len })
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
        TABLE.again(self.key);
        Self { key: self.key, context: self.context.clone(), ptr: self.ptr, len: self.len }
    }
}

impl Drop for Imported {
    fn drop(&mut self) {
        TABLE.give_back(self.key, close);
    }
}

/// Closes what nobody uses any more, when the GPU is done with it; whether it did.
fn close(context: &Context, memory: Memory) -> bool {
    let driver = context.driver();
    // A context that cannot be entered is lost, and its memory with it.
    let Ok(_current) = context.enter() else { return true };
    match settle(context) {
        Ok(true) => {}
        Ok(false) => {
            tracing::warn!(len = memory.len, "the GPU is still at work; memory of another process stays open");
            return false;
        }
        // A context that was lost does nothing any more.
        Err(error) => tracing::debug!(%error, "memory of another process is closed unasked"),
    }
    // SAFETY: this process opened it once and closes it once. Its owner may be dead, which closing allows.
    report(driver, "cuIpcCloseMemHandle", unsafe { (driver.api.cuIpcCloseMemHandle)(memory.ptr) });
    true
}

/// Waits until what was queued so far in the context's blocking streams is done, GStreamer's among them: whoever gives a
/// buffer back does not wait for the kernel that reads it, and NVIDIA's manual does not say that closing waits. Whether it
/// was done in time.
fn settle(context: &Context) -> Result<bool, CudaError> {
    let event = Event::new(context)?;
    event.record(&Stream::legacy(context))?;
    event.synchronize_by(Instant::now() + PATIENCE, &mut Usual::default(), || false)
}

fn open(context: &Context, handle: &IpcMemHandle) -> Result<Memory, CudaError> {
    let (driver, mut ptr) = (context.driver(), 0);
    let _current = context.enter()?;
    let raw = CUipcMemHandle { reserved: handle.0.map(|byte| byte as c_char) };
    // SAFETY: there is room for the answer; any 64 bytes are a handle, if perhaps not a valid one.
    let said = unsafe { (driver.api.cuIpcOpenMemHandle_v2)(&mut ptr, raw, LAZY_ENABLE_PEER_ACCESS) };
    match said {
        code::INVALID_CONTEXT => return Err(CudaError::OwnProcess),
        code::OUT_OF_MEMORY => return Err(CudaError::OutOfMemory { wanted: 0 }),
        said if said != code::SUCCESS && !code::is_lost(said) => {
            return Err(CudaError::DeadHandle { of: "memory", code: said, what: driver.describe(said) });
        }
        said => driver.check("cuIpcOpenMemHandle", said)?,
    }
    match address_range(context, ptr) {
        Ok((base, len)) => Ok(Memory { ptr, len: len.saturating_sub((ptr - base) as usize) }),
        Err(error) => {
            // SAFETY: opened above, and nobody knows of it.
            report(driver, "cuIpcCloseMemHandle", unsafe { (driver.api.cuIpcCloseMemHandle)(ptr) });
            Err(error)
        }
    }
}
