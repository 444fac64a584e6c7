#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Stands in for TouchDesigner: takes one picture out of a shared memory buffer and saves it as a PNG.

This is what the Shared Memory LOP does in mode "Receive (Connect)". The buffer says nothing about itself, so give the
numbers that the sender uses, exactly as in the LOP:

    Buffer Name   --name
    Width         --width
    Height        --height
    Channels      --channels    (1 grey, 2 red and green, 3 RGB, 4 RGBA; 8 bits each)

A sender for it, with a test picture:

    gst-launch-1.0 videotestsrc is-live=true ! video/x-raw,format=RGBA,width=640,height=480 ! tdshmsink shm-name=NAME

As in TouchDesigner, row 0 of the buffer is the LOWEST row of the picture; a sender with `origin=top-left` needs
--top-left here. Needs numpy and nothing else.
"""

import argparse
import struct
import sys
import time
import zlib
from multiprocessing import resource_tracker, shared_memory

import numpy as np


def attach(name, size, timeout):
    """Opens a buffer that somebody else owns, and waits for it if it is not there yet."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            if sys.version_info >= (3, 13):
                buffer = shared_memory.SharedMemory(name=name, track=False)
            else:
                buffer = shared_memory.SharedMemory(name=name)
                # Up to Python 3.12, a process that only reads removes the buffer from under its owner when it ends,
                # unless it takes this back. (Windows has no such habit.)
                if sys.platform != "win32":
                    resource_tracker.unregister(buffer._name, "shared_memory")
            break
        except (FileNotFoundError, ValueError):  # ValueError: just made, still without a size
            if time.monotonic() > deadline:
                sys.exit(f"no buffer of the name {name!r} within {timeout:g} s")
            time.sleep(0.01)
    if buffer.size < size:
        sys.exit(f"the buffer {name!r} has {buffer.size} bytes, but width x height x channels is {size}")
    return buffer


def changed(buffer, size, timeout):
    """A copy of the next frame: waits until the bytes differ from those seen first, and until two looks in a row agree
    on them, so that it is a whole frame and not the half of one that is being written."""
    deadline = time.monotonic() + timeout
    first = bytes(buffer.buf[:size])
    while time.monotonic() < deadline:
        frame = bytes(buffer.buf[:size])
        if frame != first and frame == bytes(buffer.buf[:size]):
            return frame
        time.sleep(0.002)
    return bytes(buffer.buf[:size])  # a picture that stands still is a picture, too


def png(pixels):
    """`pixels` (height x width x channels, row 0 on top) as the bytes of a PNG file."""
    height, width, channels = pixels.shape
    if channels == 2:  # PNG has no picture of red and green alone
        pixels = np.concatenate([pixels, np.zeros((height, width, 1), np.uint8)], axis=2)
        channels = 3
    colour_type = {1: 0, 3: 2, 4: 6}[channels]

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = np.zeros((height, 1 + width * channels), np.uint8)  # a filter byte of 0 in front of each row
    rows[:, 1:] = pixels.reshape(height, width * channels)
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows.tobytes(), 6))
            + chunk(b"IEND", b""))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--name", default="gstreamer", help="buffer name (default: %(default)s)")
    options.add_argument("--width", type=int, default=1280)
    options.add_argument("--height", type=int, default=720)
    options.add_argument("--channels", type=int, default=4, choices=(1, 2, 3, 4))
    options.add_argument("--top-left", action="store_true", help="row 0 is the top row")
    options.add_argument("--output", default="received.png", help="file to write (default: %(default)s)")
    options.add_argument("--timeout", type=float, default=10.0, help="seconds to wait for the buffer")
    options = options.parse_args()
    if options.width < 1 or options.height < 1:
        sys.exit("width and height must be positive")

    shape = (options.height, options.width, options.channels)
    size = options.height * options.width * options.channels
    buffer = attach(options.name, size, options.timeout)
    try:
        frame = changed(buffer, size, timeout=1.0)
    finally:
        buffer.close()  # and no unlink(): it is the sender's
    pixels = np.frombuffer(frame, np.uint8).reshape(shape)
    if not options.top_left:
        pixels = pixels[::-1]
    with open(options.output, "wb") as file:
        file.write(png(pixels))
    print(f"wrote {options.output}: {options.width}x{options.height}, {options.channels} channels", flush=True)


if __name__ == "__main__":
    main()
