#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""What people write by hand today: multiprocessing.shared_memory, numpy, appsink and appsrc. `cargo xtask bench` holds
the elements against it.

    by_hand.py memcpy WIDTH HEIGHT            processor milliseconds of one copy of a frame
    by_hand.py write NAME WIDTH HEIGHT FPS    a writer: each frame has one value in all of its bytes
    by_hand.py send NAME WIDTH HEIGHT FRAMES  GStreamer to shared memory, as fast as it goes
    by_hand.py receive NAME WIDTH HEIGHT FPS  shared memory to GStreamer; one byte per sampled row to standard output
"""

import os
import signal
import sys
import time
from multiprocessing import resource_tracker, shared_memory

import numpy as np

ROWS = 64  # sampled rows of a received frame; in a whole one they are all alike


def memcpy(width, height):
    source = np.random.default_rng(1).integers(0, 256, width * height * 4, np.uint8)
    target = np.zeros_like(source)
    times = []
    for _ in range(60):
        begin = time.process_time()
        np.copyto(target, source)
        times.append(time.process_time() - begin)
    print(f"{sorted(times)[len(times) // 2] * 1e3:.4f}")


def write(name, width, height, fps):
    buffer = shared_memory.SharedMemory(name=name, create=True, size=width * height * 4)
    running = True

    def stop(_signal, _stack):
        nonlocal running
        running = False

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    pixels = np.ndarray((height, width * 4), np.uint8, buffer=buffer.buf)
    print("writing", flush=True)
    number, due = 0, time.monotonic()
    while running:
        number += 1
        pixels[:] = number % 251
        due = max(due + 1 / fps, time.monotonic() - 1)
        time.sleep(max(0.0, due - time.monotonic()))
    del pixels
    buffer.close()
    buffer.unlink()


def gstreamer():
    import gi
    gi.require_version("Gst", "1.0")
    gi.require_version("GstApp", "1.0")
    from gi.repository import Gst, GstApp  # noqa: F401, GstApp gives the elements their methods
    Gst.init(None)
    return Gst


def send(name, width, height, frames):
    Gst = gstreamer()
    pipeline = Gst.parse_launch(
        f"videotestsrc num-buffers=1 pattern=snow ! video/x-raw,format=RGBA,width={width},height={height},framerate=60/1 "
        f"! imagefreeze num-buffers={frames} ! appsink name=out sync=false max-buffers=2")
    buffer = shared_memory.SharedMemory(name=name, create=True, size=width * height * 4)
    pixels = np.ndarray((height, width, 4), np.uint8, buffer=buffer.buf)
    out = pipeline.get_by_name("out")
    pipeline.set_state(Gst.State.PLAYING)
    while (sample := out.emit("pull-sample")) is not None:
        _, memory = sample.get_buffer().map(Gst.MapFlags.READ)
        pixels[:] = np.frombuffer(memory.data, np.uint8).reshape(height, width, 4)[::-1]
        sample.get_buffer().unmap(memory)
    pipeline.set_state(Gst.State.NULL)
    del pixels
    buffer.close()
    buffer.unlink()


def receive(name, width, height, fps):
    Gst = gstreamer()
    buffer = shared_memory.SharedMemory(name=name)
    resource_tracker.unregister(buffer._name, "shared_memory")
    pixels = np.ndarray((height, width, 4), np.uint8, buffer=buffer.buf)
    pipeline = Gst.parse_launch(
        "appsrc name=in format=time is-live=true block=true max-buffers=2 "
        f"caps=video/x-raw,format=RGBA,width={width},height={height},framerate={fps}/1 "
        f"! videoscale method=nearest-neighbour add-borders=false ! video/x-raw,width=1,height={ROWS} "
        "! videoconvert ! video/x-raw,format=RGBA ! fdsink fd=1 sync=false")
    source = pipeline.get_by_name("in")
    pipeline.set_state(Gst.State.PLAYING)
    begin = time.monotonic()
    number = 0
    while True:
        frame = Gst.Buffer.new_allocate(None, width * height * 4, None)
        _, memory = frame.map(Gst.MapFlags.WRITE)
        np.copyto(np.frombuffer(memory.data, np.uint8).reshape(height, width, 4), pixels[::-1])
        frame.unmap(memory)
        frame.pts = number * Gst.SECOND // fps
        if source.emit("push-buffer", frame) != Gst.FlowReturn.OK:
            break
        number += 1
        time.sleep(max(0.0, begin + number / fps - time.monotonic()))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    role, *rest = sys.argv[1:]
    name = [] if role == "memcpy" else [rest.pop(0)]
    {"memcpy": memcpy, "write": write, "send": send, "receive": receive}[role](*name, *map(int, rest))
