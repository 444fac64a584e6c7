# SPDX-License-Identifier: MPL-2.0
"""Frames to and from GStreamer's tdshmsink and tdshmsrc through shared memory, with everything that stands beside the
pixels: size, format, time, number, end. Python 3.9 or newer (64 bits) and its standard library, on Linux and Windows;
numpy where frames shall be arrays.

    import tdlink

    for frame in tdlink.Reader("cam1"):                 # waits for a sender; ends when the sender says so
        print(frame.sequence, frame.pts, frame.array.shape)       # (height, width, channels), row 0 on top

    with tdlink.Writer("cam2", 640, 480, slots=4) as writer:
        writer.publish(numpy.zeros((480, 640, 4), numpy.uint8))   # RGBA
        writer.publish(bytes(480 * 640 * 4))                      # the same, without numpy

    frame = reader.read(timeout=0)                      # in a callback of TouchDesigner: a frame, or None, at once

Where `frame.leased`, its array is a view into shared memory: it stays as it is, and keeps one slot of the sender's
ring, until the last reference to frame and array is gone or `frame.release()` is called. Otherwise it is a copy.
Readers never slow a sender down, unless its delivery is "lossless". The wire is docs/protocol/control.md, whose words
are used here. macOS has no control segments: its shared memory takes no locks.

`tdlink.gst`, which is not loaded by this module, has frames on the GPU to and from GStreamer; it needs PyGObject.

What a peer writes is checked before it is used. One thing Python cannot catch: a program that cuts a segment short at
the very moment of an access (SIGBUS). It is looked for before each frame.

    python3 -m tdlink info NAME | view NAME | send NAME [WIDTHxHEIGHT]
"""

from ._wire import (
    DISCONT,
    GAP,
    HEADER_BYTES,
    PTS_ON_CLOCK,
    Description,
    EndOfStream,
    NameTaken,
    ProducerGone,
    ProtocolError,
    TdlinkError,
    clock_ns,
)
from .reader import Frame, Reader
from .writer import Writer

__all__ = [
    "DISCONT", "GAP", "HEADER_BYTES", "PTS_ON_CLOCK", "Description", "EndOfStream", "Frame", "NameTaken",
    "ProducerGone", "ProtocolError", "Reader", "TdlinkError", "Writer", "clock_ns",
]  # fmt: skip
