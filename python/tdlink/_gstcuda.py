# SPDX-License-Identifier: MPL-2.0
"""GStreamer's CUDA library and NVIDIA's driver by ctypes: what PyGObject has no words for.

Addresses of PyGObject's objects are their hashes. `GstMapInfo` and `GST_MAP_CUDA` are GStreamer's of 1.22 and later.
"""

import contextlib
import ctypes
import sys
import threading

from ._wire import TdlinkError

MAP_READ, MAP_WRITE, MAP_CUDA = 1, 2, 1 << 17
_WINDOWS = sys.platform == "win32"
_GST = ["gstreamer-1.0-0.dll", "libgstreamer-1.0-0.dll"] if _WINDOWS else ["libgstreamer-1.0.so.0"]
_CUDA = ["gstcuda-1.0-0.dll", "libgstcuda-1.0-0.dll"] if _WINDOWS else ["libgstcuda-1.0.so.0"]
_DRIVER = ["nvcuda.dll"] if _WINDOWS else ["libcuda.so.1"]
_P, _INT, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t


class MapInfo(ctypes.Structure):
    _fields_ = [("memory", _P), ("flags", _INT), ("data", _P), ("size", _SIZE), ("maxsize", _SIZE),
                ("user_data", _P * 4), ("reserved", _P * 4)]  # fmt: skip


class Copy2D(ctypes.Structure):
    """CUDA_MEMCPY2D; memory types: 2 is the device."""

    _fields_ = [(end + name, kind) for end in ("src", "dst") for name, kind in (
        ("X", _SIZE), ("Y", _SIZE), ("Type", _INT), ("Host", _P), ("Device", ctypes.c_uint64), ("Array", _P),
        ("Pitch", _SIZE))] + [("bytes", _SIZE), ("height", _SIZE)]  # fmt: skip


def _load(names, what):
    why = None
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            why = error
    raise TdlinkError("%s was not found (%s): %s" % (what, ", ".join(names), why))


def _function(library, name, result, *arguments):
    found = getattr(library, name, None)
    if found is not None:
        found.restype, found.argtypes = result, arguments
    return found


class Libraries:
    """Opened when they are needed first."""

    _lock, _only = threading.Lock(), None

    @classmethod
    def get(cls):
        with cls._lock:
            if cls._only is None:
                cls._only = cls()
            return cls._only

    def __init__(self):
        gst, cuda = _load(_GST, "GStreamer"), _load(_CUDA, "GStreamer's CUDA library (of its \"bad\" plugins)")
        self.driver, self.contexts = _load(_DRIVER, "NVIDIA's driver"), {}
        self.map = _function(gst, "gst_buffer_map", _INT, _P, ctypes.POINTER(MapInfo), _INT)
        self.unmap = _function(gst, "gst_buffer_unmap", None, _P, ctypes.POINTER(MapInfo))
        self.peek = _function(gst, "gst_buffer_peek_memory", _P, _P, ctypes.c_uint)
        self.set_context = _function(gst, "gst_element_set_context", None, _P, _P)
        self.unref_context = _function(gst, "gst_mini_object_unref", None, _P)
        self.unref = _function(gst, "gst_object_unref", None, _P)
        self.pool_config = _function(gst, "gst_buffer_pool_get_config", _P, _P)
        self.pool_params = _function(
            gst, "gst_buffer_pool_config_set_params", None, _P, _P, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint
        )
        self.pool_configure = _function(gst, "gst_buffer_pool_set_config", _INT, _P, _P)
        self.is_cuda = _function(cuda, "gst_is_cuda_memory", _INT, _P)
        self.wrap = _function(cuda, "gst_cuda_context_new_wrapped", _P, _P, ctypes.c_uint)
        self.as_context = _function(cuda, "gst_context_new_cuda_context", _P, _P)
        self.new_pool = _function(cuda, "gst_cuda_buffer_pool_new", _P, _P)
        self.stream_of = _function(cuda, "gst_cuda_memory_get_stream", _P, _P)  # from 1.24 on
        self.stream_handle = _function(cuda, "gst_cuda_stream_get_handle", _P, _P)
        missing = [name for name in ("is_cuda", "wrap", "as_context", "new_pool") if getattr(self, name) is None]
        if missing:
            raise TdlinkError("GStreamer's CUDA library lacks what 1.22 has (%s)" % ", ".join(missing))
        if not _function(cuda, "gst_cuda_load_library", _INT)():
            raise TdlinkError("GStreamer's CUDA library cannot load NVIDIA's driver; GST_DEBUG=cudaloader:5 says why")
        _function(cuda, "gst_cuda_memory_init_once", None)()

    def call(self, name, *arguments):
        """A function of the driver; its error by name."""
        status = getattr(self.driver, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self.driver.cuGetErrorName(status, ctypes.byref(text))
            raise TdlinkError("%s: %s" % (name, (text.value or str(status).encode()).decode()))

    def primary(self, device):
        """The primary context of a device, which CUDA's runtime, CuPy and PyTorch use, and GStreamer's wrap of it. Both
        live as long as the process."""
        with self._lock:
            if device not in self.contexts:
                handle, number = _P(), _INT()
                self.call("cuInit", 0)
                self.call("cuDeviceGet", ctypes.byref(number), device)
                self.call("cuDevicePrimaryCtxRetain", ctypes.byref(handle), number)
                wrapped = self.wrap(handle, device)
                if not wrapped:
                    raise TdlinkError("GStreamer takes no context of device %d" % device)
                self.contexts[device] = handle, wrapped
            return self.contexts[device]

    @contextlib.contextmanager
    def current(self, device):
        """The primary context of a device on top of this thread's."""
        handle, _ = self.primary(device)
        self.call("cuCtxPushCurrent_v2", handle)
        try:
            yield
        finally:
            self.call("cuCtxPopCurrent_v2", ctypes.byref(_P()))

    def stream(self, memory):
        """The stream on which what was done to a memory is ordered; None where it is done."""
        stream = self.stream_of(memory) if self.stream_of else None
        # 1 is the legacy default stream's name in __cuda_array_interface__, whose handle is 0.
        return (self.stream_handle(stream) or 1) if stream else None


def to_python(address):
    """PyGObject's wrapper of a GObject. Its C API is a capsule; the fourth function makes wrappers."""
    import gi

    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = _P, (ctypes.py_object, ctypes.c_char_p)
    table = get(gi._gobject._PyGObject_API, b"gobject._PyGObject_API")
    wrap = ctypes.PYFUNCTYPE(ctypes.py_object, _P)(ctypes.cast(table, ctypes.POINTER(_P))[3])
    return wrap(address)
