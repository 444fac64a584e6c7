# SPDX-License-Identifier: MPL-2.0
"""`tdlink.gst` on a CUDA driver, the emulated one too: what stands behind `__cuda_array_interface__` is read by the driver's
own cuMemcpyDtoH, row by row. The plugin is GST_PLUGIN_PATH's."""
import ctypes
import gc
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "python"))
import tdlink.gst  # noqa: E402
from gi.repository import Gst, GstVideo  # noqa: E402
from tdlink._gstcuda import Libraries  # noqa: E402

Gst.init(None)
WIDTH, HEIGHT = 67, 31  # rows of no round number of bytes


def down(array):
    """The bytes of a device array without gaps."""
    about, libraries = array.__cuda_array_interface__, Libraries.get()
    (address, _), shape, strides = about["data"], about["shape"], about["strides"]
    row = shape[1] * strides[1]
    handle, _ = libraries.primary(0)
    libraries.call("cuCtxPushCurrent_v2", handle)
    try:
        rows = []
        for y in range(shape[0]):
            into = ctypes.create_string_buffer(row)
            libraries.call(
                "cuMemcpyDtoH_v2", into, ctypes.c_uint64(address + y * strides[0]), ctypes.c_size_t(row)
            )
            rows.append(into.raw)
        return b"".join(rows)
    finally:
        libraries.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))


def start(line):
    pipeline = Gst.parse_launch(line)
    tdlink.gst.use_primary_context(pipeline)
    pipeline.set_state(Gst.State.PLAYING)
    return pipeline


def pull(pipeline, name):
    sample = pipeline.get_by_name(name).emit("try-pull-sample", 20 * Gst.SECOND)
    message = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
    assert not message, message and message.parse_error()
    assert sample, "no frame within 20 s"
    return sample


def tight(sample, plane=0):
    """The same plane of a frame in system memory, without gaps."""
    info = tdlink.gst._info(sample.get_caps())
    shape, _, pixel, _ = tdlink.gst._plane(info, plane)
    buffer = sample.get_buffer()
    place = GstVideo.buffer_get_video_meta(buffer) or info
    data, stride, offset = buffer.extract_dup(0, buffer.get_size()), place.stride[plane], place.offset[plane]
    return b"".join(data[offset + y * stride :][: shape[1] * pixel] for y in range(shape[0]))


def frames_where_they_lie(format):
    caps = "video/x-raw,format=%s,width=%d,height=%d" % (format, WIDTH - 1, HEIGHT - 1)
    pipeline = start(
        "videotestsrc num-buffers=3 pattern=snow ! %s ! tee name=t ! queue ! appsink name=host t. ! queue ! cudaupload ! "
        "video/x-raw(memory:CUDAMemory) ! appsink name=device" % caps
    )
    for _ in range(3):
        host, sample = pull(pipeline, "host"), pull(pipeline, "device")
        for plane in range(2 if format in ("NV12", "P010_10LE") else 1):
            array = tdlink.gst.cuda_array(sample, plane)
            about = array.__cuda_array_interface__
            assert about["version"] == 3 and about["data"][0] and about["stream"] is None, about
            assert down(array) == tight(host, plane), "%s, plane %d" % (format, plane)
    pipeline.set_state(Gst.State.NULL)


def the_frame_lives_as_long_as_the_array():
    pipeline = start(
        "videotestsrc num-buffers=60 pattern=snow ! video/x-raw,format=RGBA,width=%d,height=%d ! tee name=t ! queue ! "
        "appsink name=host max-buffers=1 t. ! queue ! cudaupload ! video/x-raw(memory:CUDAMemory) ! "
        "appsink name=device max-buffers=1" % (WIDTH, HEIGHT)
    )
    right = tight(pull(pipeline, "host"))
    array = tdlink.gst.cuda_array(pull(pipeline, "device"))
    for _ in range(40):  # the pool goes round; nothing but the array holds the first frame
        pull(pipeline, "host"), pull(pipeline, "device")
    gc.collect()
    assert down(array) == right, "the array's frame was used again"
    pipeline.set_state(Gst.State.NULL)
    del pipeline
    gc.collect()
    assert down(array) == right, "the array's frame went with its pipeline"
    calls, call = [], Libraries.call
    Libraries.call = lambda self, name, *rest: (calls.append((name, array._buffer is not None)), call(self, name, *rest))[1]
    try:
        array.release()
    finally:
        Libraries.call = call
    assert ("cuCtxSynchronize", True) in calls, "the frame goes back when the GPU has done with it: %r" % calls
    assert array._buffer is None
    try:
        array.__cuda_array_interface__
    except tdlink.TdlinkError as error:
        assert "given back" in str(error), error
    else:
        raise AssertionError("an address of what has been given back")


def what_python_made_reaches_a_pipeline():
    caps = "video/x-raw(memory:CUDAMemory),format=RGBA,width=%d,height=%d,framerate=30/1" % (WIDTH, HEIGHT)
    maker = start("videotestsrc num-buffers=5 pattern=snow ! %s ! tee name=t ! queue ! appsink name=host t. ! queue ! "
                  "cudaupload ! video/x-raw(memory:CUDAMemory) ! appsink name=device" % caps.replace("(memory:CUDAMemory)", ""))  # fmt: skip
    taker = start("appsrc name=in format=time caps=%s ! cudadownload ! appsink name=out" % caps.replace(" ", ""))
    for number in range(5):
        right = tight(pull(maker, "host"))
        buffer = tdlink.gst.cuda_buffer(tdlink.gst.cuda_array(pull(maker, "device")), caps)
        buffer.pts = number * Gst.SECOND // 30
        taker.get_by_name("in").emit("push-buffer", buffer)
        sample = pull(taker, "out")
        assert tight(sample) == right, number
        assert sample.get_buffer().pts == number * Gst.SECOND // 30
    maker.set_state(Gst.State.NULL)
    taker.set_state(Gst.State.NULL)


def arrays_without_a_stream_are_waited_for_and_pools_are_few():
    pipeline = start("videotestsrc num-buffers=1 pattern=snow ! video/x-raw,format=RGBA,width=8,height=8 ! cudaupload ! "
                     "video/x-raw(memory:CUDAMemory) ! appsink name=device")  # fmt: skip
    array = tdlink.gst.cuda_array(pull(pipeline, "device"))
    about = dict(array.__cuda_array_interface__)
    del about["stream"]
    other, calls, call = type("Other", (), {"__cuda_array_interface__": about}), [], Libraries.call
    Libraries.call = lambda self, name, *rest: (calls.append(name), call(self, name, *rest))[1]
    try:
        for rate in range(1, 10):
            caps = "video/x-raw(memory:CUDAMemory),format=RGBA,width=8,height=8,framerate=%d/1" % rate
            calls.clear()
            buffer = tdlink.gst.cuda_buffer(other, caps)
            assert "cuCtxSynchronize" in calls and calls.index("cuCtxSynchronize") < calls.index("cuMemcpy2DAsync_v2"), calls
    finally:
        Libraries.call = call
    assert len(tdlink.gst._pools) == tdlink.gst._POOLS and buffer.get_size() >= 256
    pipeline.set_state(Gst.State.NULL)


def what_cuda_link_carries_arrives_on_the_gpu():
    name = "tdlink-cuda-array-%d" % os.getpid()
    picture = "videotestsrc is-live=true ! video/x-raw,format=RGBA,width=%d,height=%d,framerate=60/1" % (WIDTH, HEIGHT)
    single = start("%s ! appsink name=host" % picture)
    right = tight(pull(single, "host"))
    single.set_state(Gst.State.NULL)
    sender = subprocess.Popen(["gst-launch-1.0", "-q"] + ("%s ! tdcudaipcsink shm-name=%s" % (picture, name)).split())
    try:
        pipeline = start("tdcudaipcsrc shm-name=%s connection-timeout=20 ! video/x-raw(memory:CUDAMemory),format=RGBA ! "
                         "appsink name=device" % name)  # fmt: skip
        for _ in range(5):
            array = tdlink.gst.cuda_array(pull(pipeline, "device"))
            # Videotestsrc's snow is in the lower right: the upper two thirds stand still.
            half = len(right) // 2
            assert down(array)[:half] == right[:half], "upright, red first"
        del array
        provider = Gst.DeviceProviderFactory.get_by_name("tdlinkdeviceprovider")
        device = next(device for device in provider.get_devices() if device.get_display_name() == name)
        caps = device.get_caps()
        assert caps.get_features(0).contains("memory:CUDAMemory") and caps.get_structure(0).get_int("width")[1] == WIDTH
        assert device.create_element().get_factory().get_name() == "tdcudaipcsrc"
        pipeline.set_state(Gst.State.NULL)
    finally:
        sender.send_signal(signal.SIGINT)
        sender.wait(20)


def what_cannot_be_is_said():
    pipeline = start("videotestsrc num-buffers=1 ! video/x-raw,format=RGBA,width=8,height=8 ! appsink name=host")
    sample = pull(pipeline, "host")
    pipeline.set_state(Gst.State.NULL)

    class Other:
        __cuda_array_interface__ = {"shape": (8, 9, 4), "typestr": "|u1", "data": (1, False), "version": 3}

    cuda = "video/x-raw(memory:CUDAMemory),format=%s,width=8,height=8"
    for wrong, word in (
        (lambda: tdlink.gst.cuda_array(sample), "not on the GPU"),
        (lambda: tdlink.gst.cuda_array(sample, 1), "no plane 1"),
        (lambda: tdlink.gst.cuda_buffer(Other, cuda % "RGBA"), "(8, 9, 4)"),
        (lambda: tdlink.gst.cuda_buffer(Other, cuda % "NV12"), "several planes"),
        (lambda: tdlink.gst.cuda_buffer(Other, "video/x-raw,format=RGBA,width=8,height=8"), "memory:CUDAMemory"),
    ):
        try:
            wrong()
        except tdlink.TdlinkError as error:
            assert word in str(error), error
        else:
            raise AssertionError("%r was expected" % word)


for format in ("RGBA", "BGRx", "NV12", "P010_10LE"):
    frames_where_they_lie(format)
the_frame_lives_as_long_as_the_array()
what_python_made_reaches_a_pipeline()
arrays_without_a_stream_are_waited_for_and_pools_are_few()
what_cuda_link_carries_arrives_on_the_gpu()
what_cannot_be_is_said()
print("right")
