# SPDX-License-Identifier: MPL-2.0
"""Callbacks of a Script TOP that shows the raw bytes of a shared buffer, what the Shared Memory LOP does in mode "Receive
(Connect)". A picture that has not changed is not uploaded again.

Put this text into the callbacks DAT of a Script TOP, pulse "Setup Parameters", and type name and size on the page "Shared
Memory": as the sender has them, for the bytes do not say. A Script TOP without inputs cooks once: let its parameter
"Frame" (`absTime.frame`) make it cook. The sender:
videotestsrc ! video/x-raw,format=RGBA,width=1280,height=720 ! tdshmsink shm-name=NAME
"""

import sys
import zlib
from multiprocessing import resource_tracker, shared_memory

import numpy as np

buffer = None
seen = None


def onSetupParameters(scriptOp):
    page = scriptOp.appendCustomPage("Shared Memory")
    page.appendStr("Buffername", label="Buffer Name")[0].default = "cam2"
    for name, value in (("Width", 1280), ("Height", 720), ("Channels", 4), ("Frame", 0)):
        page.appendInt(name)[0].default = value


def attach(name):
    """Opens the buffer without becoming its owner."""
    if sys.version_info >= (3, 13):
        return shared_memory.SharedMemory(name=name, track=False)
    found = shared_memory.SharedMemory(name=name)
    if sys.platform != "win32":
        resource_tracker.unregister(found._name, "shared_memory")
    return found


def onCook(scriptOp):
    global buffer, seen
    par = scriptOp.par
    par.Frame.eval()  # the reason to cook
    name, shape = par.Buffername.eval(), (par.Height.eval(), par.Width.eval(), par.Channels.eval())
    size = shape[0] * shape[1] * shape[2]
    if buffer is not None and (buffer.name.lstrip("/") != name or buffer.size < size):
        buffer.close()
        buffer = None
    if buffer is None:
        seen = None
        try:
            buffer = attach(name)
        except (FileNotFoundError, ValueError):  # nobody sends yet
            return
        if buffer.size < size:
            return
    picture = np.array(np.ndarray(shape, np.uint8, buffer.buf))  # a copy: the sender writes on
    changed = zlib.adler32(picture)
    if changed != seen:
        seen = changed
        scriptOp.copyNumpyArray(picture)  # row 0 is the lowest, on both sides


def onDestroy():
    global buffer
    if buffer is not None:
        buffer.close()
        buffer = None
