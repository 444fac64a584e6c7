# SPDX-License-Identifier: MPL-2.0
"""Frames on the GPU between GStreamer and CuPy, PyTorch, Numba or whatever else knows `__cuda_array_interface__`.

    import gi
    gi.require_version("Gst", "1.0")
    from gi.repository import Gst
    import tdlink.gst

    Gst.init(None)
    pipeline = Gst.parse_launch("tdcudaipcsrc ! video/x-raw(memory:CUDAMemory),format=RGBA ! appsink name=sink")
    tdlink.gst.use_primary_context(pipeline)          # before it starts: the context in which CuPy and PyTorch work
    pipeline.set_state(Gst.State.PLAYING)
    frame = tdlink.gst.cuda_array(pipeline.get_by_name("sink").emit("pull-sample"))
    picture = cupy.asarray(frame)                     # or torch.as_tensor(frame, device="cuda"): no copy
    buffer = tdlink.gst.cuda_buffer(picture, "video/x-raw(memory:CUDAMemory),format=RGBA,width=1280,height=720")

PyGObject is needed, and GStreamer 1.22 or newer with its CUDA library.
"""

import collections
import ctypes
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstVideo  # noqa: E402

from ._gstcuda import MAP_CUDA, MAP_READ, MAP_WRITE, Copy2D, Libraries, MapInfo, to_python  # noqa: E402
from ._wire import TdlinkError  # noqa: E402

FEATURE = "memory:CUDAMemory"
# For each plane: components that lie together, bytes of each, and how much smaller the plane is than the picture.
_FOUR, _THREE = [(4, 1, 1)], [(3, 1, 1)]
_PLANES = {
    "RGBA": _FOUR, "BGRA": _FOUR, "RGBx": _FOUR, "BGRx": _FOUR, "RGB": _THREE, "BGR": _THREE, "GRAY8": [(1, 1, 1)],
    "GRAY16_LE": [(1, 2, 1)], "RGB10A2_LE": [(1, 4, 1)], "NV12": [(1, 1, 1), (2, 1, 2)],
    "P010_10LE": [(1, 2, 1), (2, 2, 2)],
}  # fmt: skip
_POOLS = 4  # that many descriptions of frames keep their memory
_pools, _pools_lock = collections.OrderedDict(), threading.Lock()


class CudaArray:
    """One plane of a frame on the GPU. Whoever takes its `__cuda_array_interface__` keeps it, and with it the frame; what
    GStreamer had to do to it is done. `release` gives the frame back, after which nothing may look at it; going out of
    use does the same. Either first waits until the GPU has done all that it was told in the device's primary context,
    for CuPy's and PyTorch's kernels may still be reading: a wait as long as the work that is queued there. Writing into
    the frame changes it for all others that have it; PyTorch takes no arrays that say so, so it is not said."""

    def __init__(self, libraries, buffer, shape, typestr, strides, offset, device=0):
        self._libraries, self._buffer, self._info, self._mapped = libraries, buffer, MapInfo(), False
        self._device = device
        memory = libraries.peek(hash(buffer), 0) if buffer.n_memory() == 1 else None
        if not memory or not libraries.is_cuda(memory):
            raise TdlinkError("the frame is not on the GPU: put `video/x-raw(%s)` in front of the appsink" % FEATURE)
        if not libraries.map(hash(buffer), ctypes.byref(self._info), MAP_READ | MAP_CUDA):
            raise TdlinkError("GStreamer cannot map the frame for the GPU")
        self._mapped = True
        needed = offset + sum((count - 1) * step for count, step in zip(shape, strides)) + strides[-1]
        if needed > self._info.size:
            self.release()
            raise TdlinkError("the frame has %d bytes, its description needs %d" % (self._info.size, needed))
        self.shape, self.pitch = shape, strides[0]
        try:
            # Not all that take arrays look at the interface's stream (torch.as_tensor does not): it is waited for here.
            stream = libraries.stream(memory)
            if stream is not None:
                with libraries.current(device):
                    libraries.call("cuStreamSynchronize", ctypes.c_void_p(stream))
        except TdlinkError:
            self.release()
            raise
        self._interface = {
            "shape": shape, "typestr": typestr, "data": (self._info.data + offset, False), "strides": strides,
            "stream": None, "version": 3,
        }  # fmt: skip

    @property
    def __cuda_array_interface__(self):
        if not self._mapped:
            raise TdlinkError("the frame has been given back")
        return self._interface

    def release(self):
        mapped, self._mapped = self._mapped, False
        if not mapped:
            return
        try:
            with self._libraries.current(self._device):
                self._libraries.call("cuCtxSynchronize")
        finally:
            self._libraries.unmap(hash(self._buffer), ctypes.byref(self._info))
            self._buffer = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()

    def __del__(self):
        self.release()


def _plane(info, number):
    """Shape, type and place of a plane by a picture's description, without its strides."""
    name = GstVideo.VideoFormat.to_string(info.finfo.format)
    planes = _PLANES.get(name)
    if planes is None or not 0 <= number < len(planes):
        raise TdlinkError("no plane %d of %s; known are %s" % (number, name, ", ".join(_PLANES)))
    components, size, smaller = planes[number]
    height, width = -(-info.height // smaller), -(-info.width // smaller)
    shape = (height, width) if components == 1 else (height, width, components)
    return shape, "|u1" if size == 1 else "<u%d" % size, components * size, size


def _strides(shape, pitch, pixel, size):
    return (pitch, pixel) if len(shape) == 2 else (pitch, pixel, size)


def _info(caps):
    info = GstVideo.VideoInfo.new_from_caps(caps) if caps else None
    if info is None:
        raise TdlinkError("no video: %s" % (caps.to_string() if caps else "the sample has no caps"))
    return info


def cuda_array(sample, plane=0, device=0):
    """The frame of a `Gst.Sample` where it lies on the GPU, without a copy: (height, width, components), or
    (height, width) where there is one. NV12 and P010_10LE have a second plane, (height / 2, width / 2, 2). `device`: as
    told to `use_primary_context`. Returns when GStreamer's work on the frame is done."""
    buffer, info = sample.get_buffer(), _info(sample.get_caps())
    shape, typestr, pixel, size = _plane(info, plane)
    meta = GstVideo.buffer_get_video_meta(buffer)
    offset, pitch = (meta or info).offset[plane], (meta or info).stride[plane]
    return CudaArray(Libraries.get(), buffer, shape, typestr, _strides(shape, pitch, pixel, size), offset, device)


def use_primary_context(pipeline, device=0):
    """Has a pipeline that has not been started work in the device's primary context, as CuPy and PyTorch do: memory of
    another context is not theirs to look at."""
    libraries = Libraries.get()
    _, wrapped = libraries.primary(device)
    context = libraries.as_context(wrapped)
    libraries.set_context(hash(pipeline), context)
    libraries.unref_context(context)


def _pool(caps, info, device):
    """The pool of these caps. The lock is held."""
    key = (caps.to_string(), device)
    if key in _pools:
        _pools.move_to_end(key)
        return _pools[key]
    libraries = Libraries.get()
    _, wrapped = libraries.primary(device)
    address = libraries.new_pool(wrapped)
    if not address:
        raise TdlinkError("GStreamer makes no pool on device %d" % device)
    pool = to_python(address)
    libraries.unref(address)  # the wrapper has its own reference
    config = libraries.pool_config(hash(pool))
    libraries.pool_params(config, hash(caps), info.size, 0, 0)
    if not libraries.pool_configure(hash(pool), config) or not pool.set_active(True):
        raise TdlinkError("GStreamer has no memory on the GPU for %s" % key[0])
    while len(_pools) >= _POOLS:
        _pools.popitem(last=False)[1].set_active(False)  # frames that are out keep it until they are back
    _pools[key] = pool
    return pool


def _acquire(caps, info, device):
    """A frame's buffer from a pool for these caps."""
    with _pools_lock:
        result, buffer = _pool(caps, info, device).acquire_buffer(None)
    if result != Gst.FlowReturn.OK:
        raise TdlinkError("no memory on the GPU for %s: %s" % (caps.to_string(), result.value_nick))
    return buffer


def cuda_buffer(array, caps, device=0):
    """A `Gst.Buffer` on the GPU, for an appsrc of these caps, with a copy of `array` (CuPy, PyTorch, whatever has
    `__cuda_array_interface__`), one copy that is made on the GPU and is done when this returns. `caps`: a text, or
    `Gst.Caps`, of one plane. An array that names no stream (PyTorch's) is waited for with all else that the device's primary
    context was told. Times are the caller's to set."""
    caps = Gst.Caps.from_string(caps) if isinstance(caps, str) else caps
    if not caps or caps.get_size() != 1 or not caps.get_features(0).contains(FEATURE):
        raise TdlinkError("caps of a frame on the GPU begin with video/x-raw(%s)" % FEATURE)
    info, about = _info(caps), array.__cuda_array_interface__
    shape, typestr, pixel, size = _plane(info, 0)
    if info.finfo.n_planes != 1:
        raise TdlinkError("%s has several planes" % caps.to_string())
    found, tight = tuple(about["shape"]), shape[1] * pixel
    strides = about.get("strides") or _strides(shape, tight, pixel, size)
    rows_in_one_piece = tuple(strides[1:]) == _strides(shape, 0, pixel, size)[1:] and strides[0] >= tight
    if found != shape or about["typestr"].lstrip("|<=") != typestr.lstrip("|<") or not rows_in_one_piece:
        had = (found, about["typestr"], strides, shape, typestr)
        raise TdlinkError("%s of %s, %s bytes apart, but a frame is %s of %s, rows in one piece" % had)
    libraries, buffer, into = Libraries.get(), _acquire(caps, info, device), MapInfo()
    meta = GstVideo.buffer_get_video_meta(buffer)
    if not libraries.map(hash(buffer), ctypes.byref(into), MAP_WRITE | MAP_CUDA):
        raise TdlinkError("GStreamer cannot map its own memory for the GPU")
    try:
        copy = Copy2D(srcType=2, srcDevice=about["data"][0], srcPitch=strides[0], dstType=2, dstDevice=into.data,
                      dstPitch=(meta or info).stride[0], bytes=tight, height=shape[0])  # fmt: skip
        with libraries.current(device):
            stream = about.get("stream")
            if stream is not None:
                libraries.call("cuStreamSynchronize", ctypes.c_void_p(stream))
            elif "stream" not in about:
                # Before version 3 of the interface, and in PyTorch's, nothing says where the array is still being made.
                libraries.call("cuCtxSynchronize")
            # The legacy default stream waits for what other streams were told before, save those that ask not to be.
            libraries.call("cuMemcpy2DAsync_v2", ctypes.byref(copy), None)
            libraries.call("cuStreamSynchronize", None)
    finally:
        libraries.unmap(hash(buffer), ctypes.byref(into))
    return buffer
