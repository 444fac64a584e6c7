# SPDX-License-Identifier: MPL-2.0
"""Windows: sections and events."""

import contextlib
import ctypes
import mmap
import time

from ._wire import NameTaken, SEGMENT, SLICE
from ._words import _KERNEL32, _Words


class _Section:
    """Pixels in a named section, which lives as long as anybody has it open."""

    def __init__(self, name, number, size, _mode, raw=False):
        while not raw and _WindowsControl.exists("%s.tdlink.%d" % (name, number)):
            number += 1  # somebody still reads it
        self.file, self.generation = name if raw else "%s.tdlink.%d" % (name, number), number
        self.identity, self.memory = (0, 0), mmap.mmap(-1, size, tagname=self.file)

    def resize(self, number, size, _mode):
        before, self.generation = len(self.memory), number
        if size <= before:
            return
        self.memory = None  # a larger one can be had only when nobody has this one
        for left in range(50, -1, -1):
            try:
                self.memory = mmap.mmap(-1, size, tagname=self.file)
                return
            except OSError:
                if not left:
                    self.memory = mmap.mmap(-1, before, tagname=self.file)
                    raise
            time.sleep(0.005)

    def keep(self):
        return True

    def close(self):
        self.memory = None


class _WindowsControl:
    """One end of NAME.tdlink. Claims are events that exist as long as their maker does: tdlink.producer.N (a number,
    because one that was robbed, whose event is set, may keep its own) and row.I. Bells are events bell.OFFSET.WHO."""

    def __init__(self, name):
        self.name, self.rows, self.bells, self.claim = name + ".tdlink", {}, {}, None
        self.memory = mmap.mmap(-1, SEGMENT, tagname=self.name)
        self.words = _Words(self.memory)

    @staticmethod
    def _call(function, *arguments):
        call = getattr(_KERNEL32, function)
        call.restype = ctypes.c_void_p
        return ctypes.c_void_p(call(*arguments))

    @classmethod
    def exists(cls, section):
        handle = cls._call("OpenFileMappingW", 4, 0, section)  # FILE_MAP_READ
        return bool(handle and _KERNEL32.CloseHandle(handle))

    @classmethod
    def open(cls, name, _any_user):
        return cls(name) if cls.exists(name + ".tdlink") else None

    @classmethod
    def produce(cls, name, _mode, _any_user):
        self = cls(name)
        with self._turn():
            if self._producers():
                raise NameTaken("another producer has the name %r" % name)
            self.claim = cls._call("CreateEventW", None, 1, 0, self.name + ".tdlink.producer.0")
            return self

    @contextlib.contextmanager
    def _turn(self):
        """Who looks at producers' events has them open, and so keeps the dead alive: one at a time."""
        turn = self._call("CreateMutexW", None, 0, self.name + ".tdlink.turn")
        mine = _KERNEL32.WaitForSingleObject(turn, 1000) in (0, 0x80)  # WAIT_OBJECT_0, WAIT_ABANDONED
        try:
            yield
        finally:
            if mine:
                _KERNEL32.ReleaseMutex(turn)
            _KERNEL32.CloseHandle(turn)

    def _producers(self):
        """For each producer that is there, whether its name was taken, or it has ended."""
        found = []
        for number in range(16):
            event = self._call("OpenEventW", 0x100000, 0, "%s.tdlink.producer.%d" % (self.name, number))  # SYNCHRONIZE
            if event:
                found.append(self._is_set(event))
                _KERNEL32.CloseHandle(event)
        return found

    @staticmethod
    def _is_set(event):
        return _KERNEL32.WaitForSingleObject(event, 0) == 0

    def try_lock(self, number):
        ctypes.set_last_error(0)
        handle = self._call("CreateEventW", None, 0, 0, "%s.row.%d" % (self.name, number - 1))
        if handle and ctypes.get_last_error() == 183:  # ERROR_ALREADY_EXISTS
            _KERNEL32.CloseHandle(handle)
            return False
        self.rows[number] = handle
        return bool(handle)

    def unlock(self, number):
        handle = self.rows.pop(number) if number else self.claim
        if not number:
            _KERNEL32.SetEvent(handle)
        _KERNEL32.CloseHandle(handle)

    def locked(self, number):
        if not number:
            with self._turn():
                return False in self._producers()
        handle = self._call("OpenEventW", 0x100000, 0, "%s.row.%d" % (self.name, number - 1))
        return bool(handle and _KERNEL32.CloseHandle(handle))

    def linked(self):
        return not (self.claim and self._is_set(self.claim))

    def settled(self):
        return True

    def close(self, description=None, remove=True):
        for handle in self.bells.values():
            _KERNEL32.CloseHandle(handle)

    def discard(self, description):
        pass  # what nobody has open is not there

    def open_pixels(self, description, _any_user):
        if self.exists(description.name):
            return mmap.mmap(-1, description.size, tagname=description.name, access=mmap.ACCESS_READ)
        return None

    def _bell(self, at, who):
        if (at, who) not in self.bells:
            self.bells[at, who] = self._call("CreateEventW", None, 0, 0, "%s.bell.%d.%d" % (self.name, at, who))
        return self.bells[at, who]

    def ring(self, at, who):
        for bit in range(32):
            if who >> bit & 1:
                _KERNEL32.SetEvent(self._bell(at, bit))

    def sleep(self, at, me, seen, seconds):
        bell = self._bell(at, me)
        if self.words.load32(at) == seen:
            _KERNEL32.WaitForSingleObject(bell, int(min(seconds, SLICE) * 1000) + 1)
