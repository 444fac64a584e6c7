# SPDX-License-Identifier: MPL-2.0
"""What both ends share: this system's segments, names, and closing."""

import atexit
import struct
import sys
import weakref

from ._wire import TdlinkError
from ._words import _FENCE, _WEAK
from ._linux import _LinuxControl, _Raw, _Ring
from ._windows import _Section, _WindowsControl

_Control = _WindowsControl if sys.platform == "win32" else _LinuxControl


def _make_pixels(name, slots, number, size, mode):
    if sys.platform == "win32":
        return _Section(name, number, size, mode, raw=slots == 1)
    return (_Raw if slots == 1 else _Ring)(name, number, size, mode)


def _check(name):
    bare = name[name.find("\\") + 1 :] if sys.platform == "win32" and name.startswith(("Local\\", "Global\\")) else name
    if not bare or len(name.encode()) > 200 or bare[0] == "." or bare.endswith(".tdlink") or set(bare) & set("/\\\0"):
        raise ValueError("%r is no name: 1 to 200 bytes, no slash, no dot in front, no .tdlink at the end" % name)
    if sys.platform not in ("linux", "win32"):
        raise TdlinkError("no control segments on %s: its shared memory takes no locks" % sys.platform)
    if struct.calcsize("P") != 8 or sys.byteorder != "little" or (_WEAK and not _FENCE):
        raise TdlinkError("this needs 64 bits, little-endian, and a memory fence that Python can reach")


class _End:
    """Closed at the end of a `with`, when it is forgotten, and when Python exits."""

    alive = weakref.WeakSet()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self.close()


atexit.register(lambda: [end.close() for end in list(_End.alive)])
