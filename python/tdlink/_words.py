# SPDX-License-Identifier: MPL-2.0
"""Fences, and words that are loaded and stored in one access."""

import ctypes
import os
import sys

from ._wire import LOW

_FUTEX = _MEMBARRIER = _SYSCALL = _KERNEL32 = None
_WEAK = True  # a later access may overtake an earlier one
if sys.platform == "linux":
    _SYSCALL, _MACHINE = ctypes.CDLL(None, use_errno=True).syscall, os.uname().machine
    _FUTEX, _MEMBARRIER = {"x86_64": (202, 324), "aarch64": (98, 283), "riscv64": (98, 283)}.get(_MACHINE, (None, None))
    _WEAK = _MACHINE != "x86_64"
elif sys.platform == "win32":
    _KERNEL32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _WEAK = "ARM" in os.environ.get("PROCESSOR_IDENTIFIER", "").upper()


def _find_fence():
    """A full fence of the calling thread, or None. Peers have their own, so it need not reach other processes.

    Of membarrier(2), GLOBAL waits for milliseconds, and PRIVATE_EXPEDITED comes back without a fence in a process of
    one thread. GLOBAL_EXPEDITED fences its caller in any case.
    """
    if sys.platform == "win32":
        return _KERNEL32.FlushProcessWriteBuffers
    if _MEMBARRIER and _SYSCALL(_MEMBARRIER, 0, 0, 0) & 2:  # asks what there is
        _SYSCALL(_MEMBARRIER, 4, 0, 0)  # registers: what is documented is documented for those who have
        return lambda: _SYSCALL(_MEMBARRIER, 2, 0, 0)
    return None


_FENCE = _find_fence()
_fence = _FENCE or (lambda: None)
_order = _fence if _WEAK else (lambda: None)  # what acquire and release need


class _Words:
    """Aligned words, each loaded (acquire) and stored (release) by one native access: that is what an item of a cast
    memoryview is. (`struct.pack_into` zeroes its target first.) Every word has one writer."""

    def __init__(self, memory):
        self.longs, self.shorts = (memoryview(memory).cast("B").cast(code) for code in "QI")

    def load(self, at):
        value = self.longs[at >> 3]
        _order()
        return value

    def store(self, at, value):
        _order()
        self.longs[at >> 3] = value

    def load32(self, at):
        value = self.shorts[at >> 2]
        _order()
        return value

    def store32(self, at, value):
        _order()
        self.shorts[at >> 2] = value & LOW
