# SPDX-License-Identifier: MPL-2.0
"""Callbacks of a Script TOP that sends its input as the raw bytes of a shared buffer, 8-bit RGBA, what the Shared Memory
LOP does in mode "Send (Create)"; and only when the picture has changed.

Make a Script TOP, connect a TOP to it, put this text into its callbacks DAT, pulse "Setup Parameters", and type a Buffer
Name on the page "Shared Memory". Then: tdshmsrc shm-name=NAME width=… height=… channels=4
"""

import sys
import zlib
from multiprocessing import resource_tracker, shared_memory

import numpy as np

buffer = None
made = False  # here, and not by another program, whose it stays
seen = None


def onSetupParameters(scriptOp):
    page = scriptOp.appendCustomPage("Shared Memory")
    page.appendStr("Buffername", label="Buffer Name")[0].default = "cam1"


def ready(name, size):
    """The buffer of this name and size. One of the same size that somebody left is used on, and is not taken away."""
    global buffer, made, seen
    if buffer is not None and (buffer.name.lstrip("/") != name or buffer.size < size):
        let_go()
    if buffer is None:
        seen = None
        try:
            buffer, made = shared_memory.SharedMemory(name=name, create=True, size=size), True
        except FileExistsError:
            buffer, made = attach(name), False
            if buffer.size < size:
                found = buffer.size
                let_go()
                raise RuntimeError("the buffer %r has %d bytes, a picture %d: choose another name" % (name, found, size))
    return buffer


def attach(name):
    """Opens the buffer without becoming its owner."""
    if sys.version_info >= (3, 13):
        return shared_memory.SharedMemory(name=name, track=False)
    found = shared_memory.SharedMemory(name=name)
    if sys.platform != "win32":
        resource_tracker.unregister(found._name, "shared_memory")
    return found


def let_go():
    global buffer
    buffer.close()
    if made:
        buffer.unlink()
    buffer = None


def onCook(scriptOp):
    global seen
    name = scriptOp.par.Buffername.eval()
    pixels = scriptOp.inputs[0].numpyArray() if scriptOp.inputs else None  # float32, 0 to 1, row 0 is the lowest
    if not name or pixels is None:
        return
    picture = (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)
    changed = zlib.adler32(picture)  # what tdshmsrc's change-detection=checksum says, too
    if changed != seen:
        np.ndarray(picture.shape, np.uint8, ready(name, picture.nbytes).buf)[:] = picture
        seen = changed
    scriptOp.copyNumpyArray(picture)


def onDestroy():
    if buffer is not None:
        let_go()
