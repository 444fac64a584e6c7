// SPDX-License-Identifier: MPL-2.0
//! The shared library and its functions.

use std::{
    ffi::{c_int, c_uint, c_void},
    sync::OnceLock,
};

use glib::ffi::{GDestroyNotify, GType, gboolean};
use gst::{ffi as gst_ffi, glib};
use gst_video::ffi::GstVideoInfo;
use libloading::Library;

/// The names under which it is looked for, the likeliest first.
#[cfg(not(windows))]
const NAMES: [&str; 1] = ["libgstcuda-1.0.so.0"];
#[cfg(windows)]
const NAMES: [&str; 2] = ["gstcuda-1.0-0.dll", "libgstcuda-1.0-0.dll"];

/// Why GStreamer's CUDA library cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Missing {
    /// No such library.
    #[error(
        "GStreamer's CUDA library was not found ({tried}): {why}; install the \"bad\" plugins of this GStreamer (Debian: libgstreamer-plugins-bad1.0-0; Windows and wheels: the complete installation)"
    )]
    Library {
        /// Names that were tried.
        tried: String,
        /// What the system said.
        why: String,
    },
    /// It is another library than we know.
    #[error(
        "GStreamer's CUDA library has no function {symbol}: {why}; it is older than 1.22, or not GStreamer's: install the \"bad\" plugins of GStreamer 1.22 or newer"
    )]
    Symbol {
        /// The function.
        symbol: &'static str,
        /// What the system said.
        why: String,
    },
    /// It is there, and does not find the driver's functions that it wants.
    #[error(
        "GStreamer's CUDA library cannot load the NVIDIA driver, or this driver lacks a function that it wants; GST_DEBUG=cudaloader:5 says which. Install a newer driver, or an older GStreamer"
    )]
    Driver,
}

/// `GstCudaContext`, a `GstObject`.
#[repr(C)]
pub struct GstCudaContext {
    _opaque: [u8; 0],
}

/// `GstCudaStream`, a `GstMiniObject`.
#[repr(C)]
pub struct GstCudaStream {
    _opaque: [u8; 0],
}

/// The public head of `GstCudaMemory`; the same from 1.22 to 1.28.
#[repr(C)]
pub struct GstCudaMemory {
    pub mem: gst_ffi::GstMemory,
    pub context: *mut GstCudaContext,
    pub info: GstVideoInfo,
}

/// The public head of `GstCudaBufferPool`; the same from 1.22 to 1.28.
#[repr(C)]
pub struct GstCudaBufferPool {
    pub parent: gst_ffi::GstBufferPool,
    pub context: *mut GstCudaContext,
}

/// Functions that every version from 1.22 on has, by the types of their headers.
pub struct Functions {
    pub load_library: unsafe extern "C" fn() -> gboolean,
    pub memory_init_once: unsafe extern "C" fn(),
    pub context_get_handle: unsafe extern "C" fn(*mut GstCudaContext) -> *mut c_void,
    pub ensure_element_context:
        unsafe extern "C" fn(*mut gst_ffi::GstElement, c_int, *mut *mut GstCudaContext) -> gboolean,
    pub handle_context_query:
        unsafe extern "C" fn(*mut gst_ffi::GstElement, *mut gst_ffi::GstQuery, *mut GstCudaContext) -> gboolean,
    pub new_cuda_context: unsafe extern "C" fn(*mut GstCudaContext) -> *mut gst_ffi::GstContext,
    pub is_cuda_memory: unsafe extern "C" fn(*mut gst_ffi::GstMemory) -> gboolean,
    pub buffer_pool_new: unsafe extern "C" fn(*mut GstCudaContext) -> *mut gst_ffi::GstBufferPool,
    pub buffer_pool_get_type: unsafe extern "C" fn() -> GType,
    /// From 1.24 on.
    pub newer: Option<Newer>,
    _library: Library,
}

/// Functions that came with 1.24.
pub struct Newer {
    pub alloc_wrapped: AllocWrapped,
    pub stream_new: unsafe extern "C" fn(*mut GstCudaContext) -> *mut GstCudaStream,
    pub stream_get_handle: unsafe extern "C" fn(*mut GstCudaStream) -> *mut c_void,
    pub stream_ref: unsafe extern "C" fn(*mut GstCudaStream) -> *mut GstCudaStream,
    pub stream_unref: unsafe extern "C" fn(*mut GstCudaStream),
    pub memory_get_stream: unsafe extern "C" fn(*mut GstCudaMemory) -> *mut GstCudaStream,
    pub config_get_stream: unsafe extern "C" fn(*mut gst_ffi::GstStructure) -> *mut GstCudaStream,
    pub config_set_stream: unsafe extern "C" fn(*mut gst_ffi::GstStructure, *mut GstCudaStream),
}

/// `gst_cuda_allocator_alloc_wrapped (allocator, context, stream, info, dev_ptr, user_data, notify)`.
pub type AllocWrapped = unsafe extern "C" fn(
    *mut c_void,
    *mut GstCudaContext,
    *mut GstCudaStream,
    *const GstVideoInfo,
    u64,
    *mut c_void,
    GDestroyNotify,
) -> *mut gst_ffi::GstMemory;

const _: () = {
    // What the headers of 1.22 and 1.28 give on 64-bit systems.
    assert!(size_of::<usize>() != 8 || std::mem::offset_of!(GstCudaMemory, context) == 112);
    assert!(size_of::<usize>() != 8 || std::mem::offset_of!(GstCudaMemory, info) == 120);
    assert!(size_of::<c_uint>() == 4);
};

impl std::fmt::Debug for Functions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Functions").field("newer", &self.newer.is_some()).finish_non_exhaustive()
    }
}

/// Looks a function up and gives it the type that the struct's field has.
macro_rules! function {
    ($library:expr, $symbol:literal) => {{
        // SAFETY: the field that takes it has the type that GStreamer's header declares under this name.
        match unsafe { $library.get($symbol) } {
            Ok(found) => Ok(*found),
            Err(err) => Err(Missing::Symbol { symbol: $symbol, why: err.to_string() }),
        }
    }};
}

impl Functions {
    fn load() -> Result<Self, Missing> {
        let library = open()?;
        let functions = Self {
            load_library: function!(library, "gst_cuda_load_library")?,
            memory_init_once: function!(library, "gst_cuda_memory_init_once")?,
            context_get_handle: function!(library, "gst_cuda_context_get_handle")?,
            ensure_element_context: function!(library, "gst_cuda_ensure_element_context")?,
            handle_context_query: function!(library, "gst_cuda_handle_context_query")?,
            new_cuda_context: function!(library, "gst_context_new_cuda_context")?,
            is_cuda_memory: function!(library, "gst_is_cuda_memory")?,
            buffer_pool_new: function!(library, "gst_cuda_buffer_pool_new")?,
            buffer_pool_get_type: function!(library, "gst_cuda_buffer_pool_get_type")?,
            newer: Newer::load(&library)?,
            _library: library,
        };
        // SAFETY: it may be called at any time, by several callers.
        let loaded = unsafe { (functions.load_library)() };
        if loaded == glib::ffi::GFALSE {
            return Err(Missing::Driver);
        }
        // SAFETY: as above; the driver's functions are there.
        unsafe { (functions.memory_init_once)() };
        Ok(functions)
    }
}

impl Newer {
    /// `None` for 1.22, whose memory cannot wrap and knows no streams. The symbol that decides is the one that wraps:
    /// `gst_cuda_allocator_alloc` has the same name in both and other arguments.
    fn load(library: &Library) -> Result<Option<Self>, Missing> {
        let Ok(alloc_wrapped) = function!(library, "gst_cuda_allocator_alloc_wrapped") else { return Ok(None) };
        Ok(Some(Self {
            alloc_wrapped,
            stream_new: function!(library, "gst_cuda_stream_new")?,
            stream_get_handle: function!(library, "gst_cuda_stream_get_handle")?,
            stream_ref: function!(library, "gst_cuda_stream_ref")?,
            stream_unref: function!(library, "gst_cuda_stream_unref")?,
            memory_get_stream: function!(library, "gst_cuda_memory_get_stream")?,
            config_get_stream: function!(library, "gst_buffer_pool_config_get_cuda_stream")?,
            config_set_stream: function!(library, "gst_buffer_pool_config_set_cuda_stream")?,
        }))
    }
}

#[cfg(not(windows))]
fn open() -> Result<Library, Missing> {
    first(|name| {
        // SAFETY: GStreamer's library has no initialiser beyond GLib's types.
        unsafe { Library::new(name) }
    })
}

/// The one that some plugin has loaded already; else the one beside the `GStreamer` that runs us; else whichever the
/// system finds.
#[cfg(windows)]
fn open() -> Result<Library, Missing> {
    use libloading::os::windows::Library as Windows;

    if let Some(found) = NAMES.into_iter().find_map(|name| Windows::open_already_loaded(name).ok()) {
        return Ok(found.into());
    }
    let folder = beside_gstreamer();
    first(|name| {
        if let Some(path) = folder.as_ref().map(|folder| folder.join(name)).filter(|path| path.exists()) {
            // SAFETY: GStreamer's library has no initialiser beyond GLib's types.
            return unsafe { Library::new(path) };
        }
        // SAFETY: as above.
        unsafe { Library::new(name) }
    })
}

/// Where the DLL lies that `gst_init` is in.
#[cfg(windows)]
fn beside_gstreamer() -> Option<std::path::PathBuf> {
    use std::os::windows::ffi::OsStringExt;
    use windows_sys::Win32::System::LibraryLoader::{
        GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT, GetModuleFileNameW,
        GetModuleHandleExW,
    };

    let flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
    let mut module = std::ptr::null_mut();
    let address = (gst_ffi::gst_version_string as *const ()).cast();
    // SAFETY: with the first flag the "name" is any address inside a module; there is room for the answer.
    let found = unsafe { GetModuleHandleExW(flags, address, &mut module) };
    if found == 0 {
        return None;
    }
    let mut path = vec![0u16; 32_768];
    // SAFETY: the module was just found, and `path` has as many characters as is said.
    let len = unsafe { GetModuleFileNameW(module, path.as_mut_ptr(), path.len() as u32) };
    path.truncate(len as usize);
    std::path::PathBuf::from(std::ffi::OsString::from_wide(&path)).parent().map(Into::into)
}

fn first(open: impl Fn(&str) -> Result<Library, libloading::Error>) -> Result<Library, Missing> {
    let mut why = String::new();
    for name in NAMES {
        match open(name) {
            Ok(library) => return Ok(library),
            Err(err) => why = err.to_string(),
        }
    }
    Err(Missing::Library { tried: NAMES.join(", "), why })
}

/// GStreamer's CUDA library. It is opened at the first call, and stays.
///
/// # Errors
/// It is not there, is not one that we know, or finds no driver: what is missing and the way out. The next call tries
/// again.
pub fn library() -> Result<&'static Functions, Missing> {
    static LOADED: OnceLock<Functions> = OnceLock::new();
    if let Some(functions) = LOADED.get() {
        return Ok(functions);
    }
    let functions = Functions::load()?;
    Ok(LOADED.get_or_init(|| functions))
}

/// Whether foreign device memory can become GStreamer's without a copy: from 1.24 on.
pub fn can_wrap() -> bool {
    library().is_ok_and(|functions| functions.newer.is_some())
}
