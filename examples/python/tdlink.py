#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Frames to and from GStreamer's tdshmsink and tdshmsrc through shared memory, with everything that stands beside the
pixels: size, format, time, number, end. One file; Python 3.9 or newer (64 bits) with numpy, on Linux and Windows.

    import tdlink

    for frame in tdlink.Reader("cam1"):                 # waits for a sender; ends when the sender says so
        print(frame.sequence, frame.pts, frame.array.shape)       # (height, width, channels), row 0 on top

    with tdlink.Writer("cam2", 640, 480, slots=4) as writer:
        writer.publish(numpy.zeros((480, 640, 4), numpy.uint8))   # RGBA

    frame = reader.read(timeout=0)                      # in a callback of TouchDesigner: a frame, or None, at once

Where `frame.leased`, its array is a view into shared memory: it stays as it is, and keeps one slot of the sender's
ring, until the last reference to it is gone or `frame.release()` is called. Otherwise it is a copy. Readers never slow
a sender down, unless its delivery is "lossless". The wire is docs/protocol/control.md, whose words are used here.
macOS has no control segments: its shared memory takes no locks.

What a peer writes is checked before it is used. One thing Python cannot catch: a program that cuts a segment short at
the very moment of an access (SIGBUS). It is looked for before each frame.

    python3 tdlink.py info NAME | view NAME | send NAME [WIDTHxHEIGHT]
"""

import atexit
import collections
import contextlib
import ctypes
import errno
import fractions
import mmap
import os
import stat
import struct
import sys
import threading
import time
import weakref

import numpy as np

# --- what stands where ----------------------------------------------------------------------------------------------

MAGIC, VERSION, LOSSLESS = 0x001A_4B4E_494C_4454, 1, 1
SEGMENT, HEADER_BYTES = 16384, 4096
HEADER, DESCRIPTION, SLOT = struct.Struct("<QIIQQ12I"), struct.Struct("<6Q23I4xQ"), struct.Struct("<4QIIQ")
DESCRIPTION_AT, DESCRIPTION_BYTES, NAME_AT, CAPS_AT, CAPS_MOST = 384, 512, 256, 1024, 3072
SLOTS_AT, SLOT_BYTES, MAX_SLOTS, ROWS_AT, ROW_BYTES, MAX_ROWS = 4096, 64, 16, 8192, 128, 32
NEWEST, EDITION, STATE, WAKE, PRODUCER_WAITING, FREED = 128, 136, 144, 192, 196, 256
CLAIM, LEASE, TAKEN, WAITING, PID, SINCE, GRANT = 0, 8, 16, 24, 28, 32, 64  # of a row
EOS, CLOSED, SUPERSEDED = 1, 2, 4  # of the state
WRITING, ACTIVE, NO_SLOT, NONE, LOW = 1 << 63, 1 << 31, 0xFF, (1 << 64) - 1, (1 << 32) - 1
PTS_ON_CLOCK, DISCONT, GAP = 1, 2, 4  # flags of a frame
DTYPES = {1: np.dtype("u1"), 2: np.dtype("<u2"), 3: np.dtype("<f2"), 4: np.dtype("<f4")}
ORDERS, ORIGINS = {1: "rgba", 2: "bgra"}, {1: "top-left", 2: "bottom-left"}
ALPHAS, FOURTHS = {0: None, 1: "straight", 2: "premultiplied"}, {1: False, 2: True}
SLICE = 0.1  # seconds: the longest sleep, and from one question to the system to the next
LAST = 1 << 48  # beyond all generations


class TdlinkError(Exception):
    """Anything that this module has to say."""


class ProtocolError(TdlinkError):
    """A segment says what cannot be, or what this version does not know."""


class NameTaken(TdlinkError):
    """Another producer, or something that is no segment of ours, has the name."""


class ProducerGone(TdlinkError):
    """The producer has died without a word."""


class EndOfStream(TdlinkError):
    """The producer says that there are no more frames."""


def clock_ns():
    """The clock of all times: CLOCK_MONOTONIC, on Windows the performance counter; in nanoseconds."""
    return time.perf_counter_ns() if sys.platform == "win32" else time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def _sound(holds, what):
    if not holds:
        raise ProtocolError("the control segment says what cannot be: " + what)


def _code(table, value, what):
    for code, known in table.items():
        if known == value:
            return code
    raise ValueError("%s is %r, expected one of %s" % (what, value, ", ".join(str(known) for known in table.values())))


class Description:
    """What the frames of a generation are, and which object holds them. `padding`: the fourth channel is no alpha.
    `fps`: a number, or (30000, 1001); 0: as they come. `colorimetry`: range, matrix, transfer, primaries (H.273)."""

    def __init__(self, width, height, channels=4, dtype="u1", order="rgba", origin="top-left", padding=False,
                 alpha=None, fps=0, max_fps=0, pixel_aspect=(1, 1), colorimetry=(1, 0, 13, 1), caps=""):  # fmt: skip
        self.width, self.height, self.channels, self.dtype = int(width), int(height), int(channels), np.dtype(dtype)
        self.order, self.origin, self.padding, self.alpha, self.caps = order, origin, bool(padding), alpha, caps
        self.fps, self.max_fps, self.pixel_aspect = (
            ratio if isinstance(ratio, tuple) else fractions.Fraction(ratio).limit_denominator(1001).as_integer_ratio()
            for ratio in (fps, max_fps, pixel_aspect))  # fmt: skip
        self.colorimetry, self.pid, self.started = tuple(colorimetry), os.getpid(), time.time_ns()
        self.item = self.channels * self.dtype.itemsize
        self.shape, self.stride = (self.height, self.width, self.channels), self.width * self.item
        self.name, self.size, self.identity = "", 0, (0, 0)
        self.slots = self.slot_at = self.slot_stride = self.frame_size = 0
        self._codes = (_code(DTYPES, self.dtype, "dtype"), self.channels, _code(ORDERS, order, "order"),
                       _code(FOURTHS, self.padding, "padding"), _code(ORIGINS, origin, "origin"),
                       _code(ALPHAS, alpha, "alpha"))  # fmt: skip
        if not (1 <= self.channels <= 4 and 0 < self.width <= LOW and 0 < self.height <= LOW and self.stride <= LOW):
            raise ValueError("%dx%d pixels of %d channels cannot be" % (self.width, self.height, self.channels))
        if len(caps.encode()) > CAPS_MOST:
            raise ValueError("caps of more than %d bytes" % CAPS_MOST)

    def _bytes(self):
        """As they stand from DESCRIPTION_AT to the end of the header."""
        name, caps, out = self.name.encode(), self.caps.encode(), bytearray(HEADER_BYTES - DESCRIPTION_AT)
        DESCRIPTION.pack_into(
            out, 0, self.size, *self.identity, self.slot_at, self.slot_stride, self.frame_size, self.slots,
            self.stride, self.width, self.height, *self._codes, *self.fps, *self.max_fps, *self.pixel_aspect,
            *self.colorimetry, len(caps), len(name), self.pid, self.started)  # fmt: skip
        for at, text in ((NAME_AT, name), (CAPS_AT - DESCRIPTION_AT, caps)):
            out[at : at + len(text)] = text
        return bytes(out)

    @classmethod
    def _parse(cls, data, header):
        at, (caps_at, caps_most) = header.description, header.caps
        (size, device, inode, slot_at, slot_stride, frame_size, slots, stride, width, height, sample, channels, order,
         fourth, origin, alpha, *ratios, caps_len, name_len, pid, started,
         ) = DESCRIPTION.unpack_from(data, at)  # fmt: skip
        fps, top, aspect, colorimetry = (tuple(ratios[i:j]) for i, j in ((0, 2), (2, 4), (4, 6), (6, 10)))
        for what, found, table in (("sample type", sample, DTYPES), ("channel order", order, ORDERS),
                                   ("origin", origin, ORIGINS), ("alpha mode", alpha, ALPHAS),
                                   ("fourth channel's meaning", fourth, FOURTHS)):  # fmt: skip
            _sound(found in table, "the %s is %d" % (what, found))
        _sound(fps[1] and top[1] and aspect[0] and aspect[1], "ratios of %s, %s, %s" % (fps, top, aspect))
        _sound(name_len <= 256 and caps_len <= caps_most, "texts of %d and %d bytes" % (name_len, caps_len))
        _sound(1 <= slots <= header.slots, "%d slots, the table has %d" % (slots, header.slots))
        try:
            caps = data[caps_at : caps_at + caps_len].decode()
            self = cls(width, height, channels, DTYPES[sample], ORDERS[order], ORIGINS[origin], FOURTHS[fourth],
                       ALPHAS[alpha], fps, top, aspect, colorimetry, caps)  # fmt: skip
            self.name = data[at + NAME_AT : at + NAME_AT + name_len].decode()
        except ValueError as error:
            raise ProtocolError("the control segment: %s" % error) from None
        _sound(stride >= self.stride, "a stride of %d bytes for rows of %d" % (stride, self.stride))
        _sound(stride * height <= frame_size, "%d bytes for a frame of %d" % (frame_size, stride * height))
        _sound(slots == 1 or slot_stride >= frame_size, "slots %d bytes apart" % slot_stride)
        _sound(slot_at + (slots - 1) * slot_stride + frame_size <= size < 1 << 63, "slots beyond %d bytes" % size)
        self.size, self.identity, self.slots, self.stride, self.pid = size, (device, inode), slots, stride, pid
        self.slot_at, self.slot_stride, self.frame_size, self.started = slot_at, slot_stride, frame_size, started
        return self


class _Header:
    """What stands in front of the description, checked; `data` is a private copy of the first bytes."""

    def __init__(self, data, size):
        (magic, version, header, required, _, _, _, slots_at, slot_bytes, slots, rows_at, row_bytes, rows,
         self.description, described, *caps) = HEADER.unpack_from(data)  # fmt: skip
        if magic != MAGIC:
            raise ProtocolError("the first bytes are %s, not a control segment's" % data[:8].hex())
        if version != VERSION:
            raise ProtocolError("control protocol version %d, this program knows %d" % (version, VERSION))
        if required & ~LOSSLESS:
            raise ProtocolError("features %#x are required, which this program does not know" % (required & ~LOSSLESS))
        _sound(DESCRIPTION_AT <= header <= HEADER_BYTES, "a header of %d bytes" % header)
        for what, at, each, count, least in (("slots", slots_at, slot_bytes, slots, SLOT_BYTES),
                                             ("rows", rows_at, row_bytes, rows, ROW_BYTES)):  # fmt: skip
            fits = each >= least and each % 64 == 0 and count and at % 64 == 0
            _sound(fits and FREED + 4 <= at and at + each * count <= size, "%d %s at %d" % (count, what, at))
        _sound(described >= DESCRIPTION_BYTES and self.description % 8 == 0, "%d bytes of description" % described)
        for at, length in ((self.description, described), caps):
            _sound(FREED + 4 <= at and at + length <= header, "%d bytes at %d" % (length, at))
        self.slots, self.rows, self.caps = min(slots, MAX_SLOTS), min(rows, MAX_ROWS), tuple(caps)
        self.lossless, self.tables = bool(required & LOSSLESS), (slots_at, slot_bytes, rows_at, row_bytes, slots, rows)

    @staticmethod
    def _bytes(lossless):
        """Ours, without the magic."""
        clock = 2 if sys.platform == "win32" else 1
        return HEADER.pack(0, VERSION, HEADER_BYTES, lossless * LOSSLESS, 0, SEGMENT, clock, SLOTS_AT,
                           SLOT_BYTES, MAX_SLOTS, ROWS_AT, ROW_BYTES, MAX_ROWS, DESCRIPTION_AT, DESCRIPTION_BYTES,
                           CAPS_AT, CAPS_MOST)[8:]  # fmt: skip


# --- fences and words -----------------------------------------------------------------------------------------------

_FUTEX = _MEMBARRIER = None
_WEAK = True  # a later access may overtake an earlier one
if sys.platform == "linux":
    import fcntl

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


# --- Linux: files of /dev/shm, locks, futexes -----------------------------------------------------------------------

NAME_BYTE, ALL_BYTES = 1 << 40, (1 << 40) + 1
_POPULATE = 0x8000  # MAP_POPULATE: every page at hand, so that no frame pays for it
_LOCKED = set()  # descriptors whose locks a forked child must not share
if sys.platform == "linux":
    os.register_at_fork(after_in_child=lambda: [os.close(_LOCKED.pop()) for _ in list(_LOCKED)])


def _generation(name, file):
    """The generation whose pixels stand under `file`, if any do."""
    digits = file[len(name) + 8 :] if file.startswith(name + ".tdlink.") else ""
    number = int(digits) if digits.isascii() and digits.isdigit() else LAST
    return number if number < LAST and str(number) == digits else None


def _path(file):
    return "/dev/shm/" + file


def _identity(fd):
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _leads_to(path, identity):
    """Whether the path leads to this object; None: it leads nowhere."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return (found.st_dev, found.st_ino) == identity


def _unlink_if(identity, *paths):
    for path in paths:
        if _leads_to(path, identity):
            os.unlink(path)


def _open(path, any_user=False, access=os.O_RDWR):
    """Opens shared memory of the same user. FileNotFoundError: nothing is there; NameTaken: something else is."""
    try:
        fd = os.open(path, access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise NameTaken("%s is no shared memory, or another user's (%s)" % (path, error.strerror)) from None
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or (found.st_uid != os.geteuid() and not any_user):
        os.close(fd)
        raise NameTaken("%s is no shared memory, or another user's (%d)" % (path, found.st_uid))
    return fd


def _flock(fd, command, kind, start, length):
    # struct flock: l_type, l_whence, l_start, l_len, l_pid, which must be 0
    return struct.unpack("hhqqi4x", fcntl.fcntl(fd, command, struct.pack("hhqqi4x", kind, 0, start, length, 0)))[0]


def _lock(fd, start, length=1):
    try:
        _flock(fd, 37, fcntl.F_WRLCK, start, length)  # F_OFD_SETLK
        return True
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False


def _unlock(fd, start, length=1):
    _flock(fd, 37, fcntl.F_UNLCK, start, length)


def _locked(fd, number):
    return _flock(fd, 36, fcntl.F_WRLCK, number, 1) != fcntl.F_UNLCK  # F_OFD_GETLK takes nothing


def _map(fd, size):
    """Through an open file of its own: a lock lasts as long as any mapping of its file, be it a child's."""
    _LOCKED.add(fd)
    again = os.open("/proc/self/fd/%d" % fd, os.O_RDWR)
    try:
        return mmap.mmap(again, size, mmap.MAP_SHARED | _POPULATE)
    finally:
        os.close(again)


def _forget(fd):
    _LOCKED.discard(fd)
    os.close(fd)


def _new_object(size, mode, path):
    """An object that has bytes, mode and the producer's lock before it has a name; `path` is for the error."""
    fd = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR, 0o600)
    try:
        os.fchmod(fd, mode)
        os.posix_fallocate(fd, 0, size)
        _lock(fd, 0)
        return fd
    except OSError as error:
        free = os.fstatvfs(fd)
        os.close(fd)
        free = free.f_bavail * free.f_frsize
        raise TdlinkError("%s: %d bytes wanted, %d free (%s)" % (path, size, free, error.strerror)) from None


def _link(fd, path):
    directory = os.open("/dev/shm", os.O_RDONLY)  # given one, os.link follows what stands in /proc
    try:
        os.link("/proc/self/fd/%d" % fd, path, src_dir_fd=directory, follow_symlinks=True)
    finally:
        os.close(directory)


def _settled(what, attempt):
    """Repeats `attempt` until it gives something: as long as a name keeps changing."""
    for _ in range(1000):
        found = attempt()
        if found is not None:
            return found
        time.sleep(0.001)
    raise NameTaken("%s keeps changing" % what)


class _LinuxControl:
    """One end of NAME.tdlink. Claims are locks of single bytes of the open file, which the kernel takes back when their
    holder dies: 0 the producer's, 1 + i row i's, 2^40 for who moves the name, all of them for who removes it."""

    def __init__(self, name, fd):
        self.name, self.path, self.fd, self.process = name, _path(name + ".tdlink"), fd, os.getpid()
        self.identity, self.memory = _identity(fd), _map(fd, 0)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.words = _Words(self.memory)

    @classmethod
    def open(cls, name, any_user):
        """What a consumer finds, or None."""
        try:
            fd = _open(_path(name + ".tdlink"), any_user)
        except FileNotFoundError:
            return None
        size = os.fstat(fd).st_size
        if size < HEADER_BYTES or size % 8:
            os.close(fd)
            raise ProtocolError("%s.tdlink has %d bytes, at least %d are needed" % (name, size, HEADER_BYTES))
        return cls(name, fd)

    @classmethod
    def produce(cls, name, mode, any_user):
        """The producer's end: made, or taken over from one that has gone."""
        path = _path(name + ".tdlink")

        def attempt():
            try:
                fd = _open(path, any_user)
            except FileNotFoundError:
                fd = _new_object(SEGMENT, mode, path)
                try:
                    _link(fd, path)
                    return fd
                except FileExistsError:
                    return os.close(fd)
            ours, locked, size = False, _lock(fd, 0), os.fstat(fd).st_size
            try:
                # Somebody may be removing it just now, and have it locked for that: the name goes before the lock.
                if (not locked and _locked(fd, NAME_BYTE)) or not _leads_to(path, _identity(fd)):
                    return None
                if not locked or (size != SEGMENT and not _lock(fd, 0, ALL_BYTES)):
                    raise NameTaken("another producer has %s, or it is in use with %d bytes" % (path, size))
                if size != SEGMENT:
                    return _unlink_if(_identity(fd), path)
                os.fchmod(fd, mode)
                os.posix_fallocate(fd, 0, SEGMENT)
                ours = True
                return fd
            finally:
                if not ours:
                    os.close(fd)

        return cls(name, _settled(path, attempt))

    def try_lock(self, number):
        return _lock(self.fd, number)

    def unlock(self, number):
        _unlock(self.fd, number)

    def locked(self, number):
        return _locked(self.fd, number)

    def linked(self):
        return _leads_to(self.path, self.identity)

    def settled(self):
        return not _locked(self.fd, NAME_BYTE) and self.linked()

    def close(self, description=None, remove=True):
        """Whoever calls it last, with nothing claimed any more, removes everything."""
        if self.process != os.getpid():
            return
        if remove and _lock(self.fd, 0, ALL_BYTES):
            if self.linked():
                self.discard(description)
                os.unlink(self.path)
            _unlock(self.fd, 0, ALL_BYTES)
        _forget(self.fd)

    def discard(self, description):
        """Removes pixels that a dead producer left."""
        for file in os.listdir("/dev/shm"):
            if _generation(self.name, file) is not None and stat.S_ISREG(os.lstat(_path(file)).st_mode):
                os.unlink(_path(file))
        keep = _path(".%s.keep" % self.name)
        if description and description.name == self.name and _leads_to(keep, description.identity):
            fd = _open(keep)
            if _identity(fd) == description.identity and _lock(fd, 0):
                _unlink_if(description.identity, _path(self.name), keep)
            os.close(fd)

    def open_pixels(self, description, any_user):
        """The pixels, mapped for reading; None when they are not there any more."""
        try:
            fd = _open(_path(description.name), any_user, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            if _identity(fd) != description.identity:
                return None
            _sound(os.fstat(fd).st_size >= description.size, "%r was cut short" % description.name)
            return mmap.mmap(fd, description.size, mmap.MAP_SHARED | _POPULATE, mmap.PROT_READ)
        finally:
            os.close(fd)

    def ring(self, at, who):
        if who and _FUTEX:
            _SYSCALL(_FUTEX, ctypes.c_void_p(self.address + at), 10, 0x7FFFFFFF, None, None, ctypes.c_uint32(who))

    def sleep(self, at, me, seen, seconds):
        if not _FUTEX:
            return time.sleep(min(seconds, 0.001))
        seconds = min(seconds, SLICE if _FENCE else 0.002)  # without a fence, a ring may be missed
        until = (ctypes.c_int64 * 2)(*divmod(clock_ns() + int(seconds * 1e9), 10**9))
        me = ctypes.c_uint32(1 << me)
        _SYSCALL(_FUTEX, ctypes.c_void_p(self.address + at), 9, ctypes.c_uint32(seen), until, None, me)


class _Ring:
    """The pixels of a generation, the first one from `number` on that is above all whose pixels have a name."""

    def __init__(self, name, number, size, mode):
        used = [_generation(name, file) for file in os.listdir("/dev/shm")]
        self.generation = max([number] + [other + 1 for other in used if other is not None])
        self.file = "%s.tdlink.%d" % (name, self.generation)
        fd = _new_object(size, mode, _path(self.file))
        try:
            _link(fd, _path(self.file))
            self.identity, self.memory = _identity(fd), mmap.mmap(fd, size, mmap.MAP_SHARED | _POPULATE)
        finally:
            os.close(fd)

    def keep(self):
        return True

    def close(self):
        _unlink_if(self.identity, _path(self.file))


class _Raw:
    """The raw segment NAME, as docs/protocol/raw.md has it: a hidden second link keeps it when a reader removes its
    name, as Python's SharedMemory does, and marks it as ours."""

    def __init__(self, name, number, size, mode):
        self.file, self.generation, self.path, self.adopted = name, number, _path(name), False
        self.links = [_path(".%s.%s" % (name, role)) for role in ("keep", "next", "swap")]
        self.kept, self.coming, self.swap = self.links
        self._take(_settled(self.path, lambda: self._attempt(size, mode)), size)

    def _take(self, fd, size):
        self.fd, self.identity, self.memory = fd, _identity(fd), _map(fd, size)

    def _attempt(self, size, mode):
        for path in (self.path, *self.links):
            try:
                fd = _open(path)
            except FileNotFoundError:
                continue
            identity, found, locked = _identity(fd), os.fstat(fd), _lock(fd, 0)
            foreign = locked and not any(_leads_to(link, identity) for link in self.links)
            if foreign and found.st_size == size and found.st_nlink == 1:
                self.adopted = True  # another program's: written in place, and left there
                return fd
            here = _leads_to(path, identity)
            if here and locked and not foreign and _lock(fd, NAME_BYTE):
                _unlink_if(identity, self.path, *self.links)  # ours, and its producer is dead
            os.close(fd)
            if here and (foreign or not locked):
                raise NameTaken("%s has %d bytes, not %d, and another owner" % (path, found.st_size, size))
            return None
        return self._publish(_new_object(size, mode, self.path), self.path)

    def _publish(self, fd, path):
        try:
            _link(fd, self.coming)
            _link(fd, path)
            if path == self.swap:
                os.rename(path, self.path)
            os.rename(self.coming, self.kept)
            return fd
        except FileExistsError:
            _unlink_if(_identity(fd), *self.links)
            os.close(fd)
            return None

    def resize(self, number, size, mode):
        """Another object under the same name, which leads to one of the two at any moment."""
        if self.keep() and size != len(self.memory):
            if self.adopted:
                raise NameTaken("%s is another program's and keeps its size" % self.path)
            _settled(self.path, lambda: _lock(self.fd, NAME_BYTE) or None)
            old, swap = self.fd, lambda: self._publish(_new_object(size, mode, self.path), self.swap)
            self._take(_settled(self.path, swap), size)
            _forget(old)
        self.generation = number

    def keep(self):
        """Puts a name back that was taken away; False when both are gone, and a new object is needed."""
        if os.fstat(self.fd).st_nlink == (1 if self.adopted else 2):
            return True
        here = _leads_to(self.path, self.identity)
        if here is False:
            raise NameTaken("%s leads to another program's segment by now" % self.path)
        try:
            for path in (self.path, self.kept):
                if not self.adopted and _leads_to(path, self.identity) is None:
                    _link(self.fd, path)
            return bool(here or not self.adopted)
        except FileNotFoundError:
            return False

    def close(self):
        if not self.adopted:
            _unlink_if(self.identity, self.path, *self.links)
        _forget(self.fd)


# --- Windows: sections and events -----------------------------------------------------------------------------------


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

# --- the end that reads ---------------------------------------------------------------------------------------------


class Frame:
    """One frame. `array`: (height, width, channels), row 0 on top, read-only if `leased`. `memory`: the same, with rows
    as they lie there (`description.origin`). Times in ns (`published` by `clock_ns()`), None where none was said."""

    def __init__(self, memory, sequence, entry, description, lease):
        self.memory, self.sequence, self.description, self._lease = memory, sequence, description, lease
        self.array = memory if description.origin == "top-left" else memory[::-1]
        pts, duration, self.published, _, _, self.flags, offset = entry
        self.pts, self.duration, self.offset = (None if value == NONE else value for value in (pts, duration, offset))
        self.leased, self.size = lease is not None, (description.width, description.height)

    def release(self):
        """Gives the slot back now; views into it must not be looked at any more."""
        if self._lease:
            self._lease.release()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()


class _Lease:
    """The right to a slot: the base of all views into it, so that it ends with the last of them."""

    def __init__(self, link, generation, slot):
        self._held, self._link = (generation, slot), link

    def show(self, view):
        self._view, self.__array_interface__ = view, view.__array_interface__
        return np.asarray(self)

    def release(self):
        link, self._link = self._link, None
        if link:
            link.give_back(*self._held)

    __del__ = release


class _Link:
    """A consumer's row. Frames that are still held keep it, beyond the reader's end."""

    def __init__(self, control, header, row, description, wish):
        self.control, self.words, self.header = control, control.words, header
        self.row, self.description = row, description
        self.lock, self.returned, self.generation, self.bits = threading.Lock(), collections.deque(), 0, 0
        self.at, self.process, self.ended = header.tables[2] + row * header.tables[3], os.getpid(), False
        self.ours, words, at = True, self.words, self.at
        words.store32(at + PID, self.process)
        words.store(at + SINCE, time.time_ns())
        self.claim = (words.load(at + CLAIM) >> 32) + 1 & LOW
        words.store(at + LEASE, 0)
        words.store32(at + WAITING, 0)
        words.store(at + TAKEN, 0)  # holds everything back until we know where to start
        words.store(at + CLAIM, self.claim << 32 | ACTIVE | wish)
        _fence()  # a producer that has not seen the claim had begun before: its slot is older than what we see now
        self.start = max((words.load(NEWEST) >> 8) - 1, 0)
        words.store(at + TAKEN, self.start)

    def sequence(self, slot):
        return self.words.load(self.slot(slot))

    def slot(self, slot):
        return self.header.tables[0] + slot * self.header.tables[1]

    def granted(self):
        grant = self.words.load(self.at + GRANT)
        return grant & LOW if _FENCE and grant >> 32 == self.claim else 0

    def lease(self, generation, slot, sequence):
        """Leases the slot, if the frame is in it and one more may be held."""
        with self.lock:
            bits = self.bits if generation == self.generation else 0
            held = bin(bits).count("1") + 1
            full = held > self.granted()
            if not full:
                self.generation, self.bits = generation, bits | 1 << slot
                self.words.store(self.at + LEASE, generation << 32 | self.bits)
        if full:
            return self._settle()
        _fence()  # either the producer sees the lease, or we see its mark, or its lower grant
        lease = _Lease(self, generation, slot)
        self._settle()
        return lease if held <= self.granted() and self.sequence(slot) == sequence else lease.release()

    def give_back(self, generation, slot):
        """May be called by the garbage collector in the midst of anything, so it waits for nothing."""
        if self.process == os.getpid():
            self.returned.append((generation, slot))
            self._settle()

    def _settle(self):
        while self.returned and self.lock.acquire(False):
            try:
                while self.returned:
                    generation, slot = self.returned.popleft()
                    self.bits &= ~(1 << slot) if generation == self.generation else NONE
                if self.ours:
                    self.words.store(self.at + LEASE, self.generation << 32 | self.bits)
                    self.tell()
            finally:
                self.lock.release()
        if self.ended:
            self.end()

    def took(self, sequence):
        if self.header.lossless:
            self.words.store(self.at + TAKEN, sequence)
            self.tell()

    def tell(self):
        """Wakes a producer that waits for a slot."""
        _fence()
        if self.words.load32(PRODUCER_WAITING):
            self.words.store32(FREED, self.words.load32(FREED) + 1)
            self.control.ring(FREED, 1)

    def end(self):
        """Gives the row back, as soon as nothing is leased any more."""
        self.ended = True
        if not self.lock.acquire(False):
            return  # who has it comes here as well
        try:
            if not self.ours or self.bits or self.process != os.getpid():
                return
            self.ours = False
            self.words.store(self.at + LEASE, 0)
            self.words.store32(self.at + WAITING, 0)
            self.words.store(self.at + CLAIM, self.words.load(self.at + CLAIM) & ~ACTIVE)
        finally:
            self.lock.release()
        self.tell()
        self.control.unlock(1 + self.row)
        self.control.close(self.description)


class Reader(_End):
    """Frames that somebody sends under a name. Waits for a sender that is not there yet.

    `leases`: frames to hold at once without a copy; as many are granted as the ring can spare, perhaps none.
    `follow`: go on with the next sender when this one ends; else EndOfStream and ProducerGone are raised.
    `skipped` counts frames that were never seen here, `torn` copies that were given up and made again.
    """

    def __init__(self, name, leases=2, follow=False, any_user=False):
        self._link = self._pixels = self.description = None
        _check(name)
        self.name, self.leases, self.follow, self.any_user = name, leases, follow, any_user
        self.skipped = self.torn = self._last = self._edition = 0
        self.alive.add(self)

    connected = property(lambda self: self._link is not None)
    granted = property(lambda self: self._link.granted() if self._link else 0)
    lossless = property(lambda self: bool(self._link and self._link.header.lossless))
    generation = property(lambda self: self._edition // 2)

    def __iter__(self):
        try:
            while True:
                yield self.read()
        except EndOfStream:
            return

    def read(self, timeout=None, copy=False):
        """The next frame: the newest, or, if delivery is lossless, the oldest that was not taken yet. None when there
        was none within `timeout` seconds."""
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            found = self._look() if self._link or self._attach() else None
            frame = self._take(*found, copy) if isinstance(found, tuple) else None
            left = until - time.monotonic()
            if frame:
                return frame
            if found in (CLOSED, EOS) and not self.follow:
                raise EndOfStream("the sender of %r says that there are no more frames" % self.name)
            if left <= 0:
                return None
            if not self._link:
                time.sleep(min(left, 0.02))
            elif found in (None, CLOSED, EOS) and self._probe(found):
                self._wait(min(left, SLICE), found)

    def close(self):
        """Gives the row back. Frames that are still held stay as they are."""
        link, self._link, self._pixels = self._link, None, None
        if link and link.process == os.getpid():
            link.took(NONE)
            link.end()

    def _attach(self):
        """Whether there is a producer, whose consumer we are now."""
        control = _Control.open(self.name, self.any_user)
        if not control:
            return False
        description, row, ours = None, None, False
        try:
            found, ours = self._snapshot(control), True
            if not found or not control.locked(0):
                description = found and found[2]
                return False  # not ready yet, or left by one that died
            edition, header, description = found
            row = next((row for row in range(header.rows) if control.try_lock(1 + row)), None)
            if row is None and control.settled() and control.locked(0):
                raise TdlinkError("all %d readers of %r are there already" % (header.rows, self.name))
            alive = row is not None and control.linked() and control.locked(0)
            pixels = alive and self._open_pixels(control, description)
            if not pixels:
                return False
            link = _Link(control, header, row, description, min(self.leases, 255))
            self._last, self._begun, self._probed = link.start, False, time.monotonic()
            self._edition, self.description, self._pixels, self._link = edition, description, pixels, link
            return True
        finally:
            if not self._link:
                if row is not None:
                    control.unlock(1 + row)
                control.close(description, ours)

    def _snapshot(self, control):
        """Edition, header and description; None while they are being written."""
        edition = control.words.load(EDITION)
        data = control.memory[:HEADER_BYTES]
        _order()
        being_written = edition & 1 or control.words.load(EDITION) != edition
        if data[:8] == bytes(8) or (being_written and data[:8] == MAGIC.to_bytes(8, "little")):
            return None
        header = _Header(data, len(control.memory))
        return edition, header, Description._parse(data, header)

    def _open_pixels(self, control, description):
        if description.name != self.name and _generation(self.name, description.name) is None:
            _sound(False, "pixels of %r in %r" % (self.name, description.name))
        return control.open_pixels(description, self.any_user)

    def _look(self):
        """The number and the slot of a frame to take, EOS or CLOSED, or None; False: look again."""
        words, control = self._link.words, self._link.control
        cut = control.memory.size() < len(control.memory) or self._pixels and self._pixels.size() < len(self._pixels)
        if cut:
            raise ProtocolError("another program cut a segment of %r short" % self.name)
        state = words.load32(STATE)  # before the frames: all of them were published before the end was said
        found = self._next()
        edition = words.load(EDITION)
        if edition != self._edition:
            if edition & 1 and sys.platform == "win32" and self.description.name == self.name:
                self._pixels = None  # the raw section cannot grow while we have it open
            return self._respecify()
        if not found and state & SUPERSEDED:
            return self.close() or False
        return found or state & CLOSED or state & EOS or None

    def _next(self):
        link, last, slots = self._link, self._last, self.description.slots
        for _ in range(16):
            word = link.words.load(NEWEST)
            newest, slot = word >> 8, word & 0xFF
            if link.header.lossless:
                there = ((link.sequence(at), at) for at in range(slots))
                there = ((word & ~WRITING, word & WRITING, at) for word, at in there)
                sequence, in_hand, slot = min((one for one in there if last < one[0] <= newest), default=(0, 0, 0))
                if not sequence:
                    return None
                if not in_hand:
                    return sequence, slot
                time.sleep(0)  # the producer may give it back
            elif newest <= last or slot >= slots:
                return None
            elif link.sequence(slot) == newest:
                return newest, slot
            elif link.words.load(NEWEST) == word:
                return None  # it is being overwritten
        return None

    def _respecify(self):
        """Takes note of a new description. None: it is not there yet."""
        found = self._snapshot(self._link.control)
        pixels = found and self._open_pixels(self._link.control, found[2])
        if not pixels:
            return None
        _sound(found[1].tables == self._link.header.tables, "tables that have moved")
        self._edition, self._link.header, self.description = found
        self._pixels, self._link.description = pixels, self.description
        newest = self._link.words.load(NEWEST) >> 8
        if newest < self._last:  # somebody began to count anew
            self._last = newest
            self._link.took(newest)
        return False

    def _take(self, sequence, slot, copy):
        """The frame; None when the producer was faster."""
        link, description, lease, view = self._link, self.description, None, None
        if not copy:
            lease = link.lease(self.generation & LOW, slot, sequence)
        if link.words.load(EDITION) != self._edition:
            return None
        entry = SLOT.unpack_from(link.control.memory, link.slot(slot) + 8)
        payload, stride = entry[3:5]
        fits = description.width * description.item <= stride and stride * description.height <= payload
        fits = fits and payload <= description.frame_size
        if fits:
            at = description.slot_at + slot * description.slot_stride
            strides = (stride, description.item, description.dtype.itemsize)
            view = np.ndarray(description.shape, description.dtype, self._pixels, at, strides)
            view = lease.show(view) if lease else view.copy()
        _order()
        if not lease and link.sequence(slot) != sequence:
            self.torn += 1  # what was read meanwhile is nobody's word
            return None
        _sound(fits, "a frame of %d bytes with rows of %d" % (payload, stride))
        self.skipped += sequence - self._last - 1 if self._begun else 0
        self._begun, self._last = True, sequence
        link.took(sequence)
        return Frame(view, sequence, entry, description, lease)

    def _probe(self, found):
        """Asks the system now and then whether anybody can still bring news; False: look again."""
        control = self._link.control
        if time.monotonic() - self._probed < SLICE:
            return True
        self._probed = time.monotonic()
        raw = self.description.name == self.name and sys.platform == "linux"
        if not control.linked() or (raw and _leads_to(_path(self.name), self.description.identity) is False):
            return self.close() or False
        if not control.locked(0) and not self.follow and self._look() is found:
            raise ProducerGone("the sender of %r has died" % self.name)
        return True

    def _wait(self, seconds, found):
        words, link = self._link.words, self._link
        words.store32(link.at + WAITING, 1)
        _fence()  # either the producer sees that we sleep, or we see its news
        try:
            seen = words.load32(WAKE)
            if self._look() is found:
                link.control.sleep(WAKE, link.row, seen, seconds)
        finally:
            words.store32(link.at + WAITING, 0)


# --- the end that writes --------------------------------------------------------------------------------------------


class _Row:
    """A producer's own notes about a row, which no consumer can change."""

    def __init__(self, at, count=0, live=False, wish=0):
        self.at, self.count, self.live, self.wish = at, count, live, wish
        self.dead, self.granted, self.let_go_at = False, 0, None


class Writer(_End):
    """Offers frames under a name; what they are is said as to `Description`.

    `slots`: 1 is the raw segment that TouchDesigner and SharedMemory read; up to 16 a ring, which can be read without
    a copy from 3 on. `delivery`: "latest", or "lossless": then `publish` waits until every reader has taken a frame
    before its slot is written again, but no longer than `lossless_timeout` seconds for one that stands still.
    """

    def __init__(self, name, width, height, channels=4, dtype="u1", slots=4, delivery="latest", lossless_timeout=2.0,
                 mode=0o600, any_user=False, **description):  # fmt: skip
        self._open, self._pixels, self._process, self._lock = False, None, os.getpid(), threading.RLock()
        _check(name)
        described = Description(width, height, channels, dtype, **description)
        self.lossless = _code({0: "latest", 1: "lossless"}, delivery, "delivery") == 1
        if not 1 + self.lossless <= slots <= MAX_SLOTS:
            raise ValueError("%d slots, expected %d to %d" % (slots, 1 + self.lossless, MAX_SLOTS))
        if self.lossless and not _FENCE:
            raise TdlinkError("lossless delivery needs a memory fence, and this system offers Python none")
        self.name, self.slots, self.mode, self.any_user = name, slots, mode, any_user
        self.lossless_timeout, self._still, self._tended = lossless_timeout, (None, 0), time.monotonic()
        self.generation = self._newest = self._state = 0
        self._begin()
        try:
            self._offer(described)
        except BaseException:
            self.close()
            raise
        self.alive.add(self)

    clients = property(lambda self: sum(row.live for row in self._rows))

    def publish(self, array, pts=None, duration=None, offset=None, flags=0, block=True, timeout=None):
        """Copies `array` (row 0 on top) into a slot and shows it. Gives its number, or None if no slot was free: at
        once with `block=False`, else within `timeout` seconds. That can only be if delivery is lossless."""
        array, description = np.asarray(array), self.description
        if array.shape == description.shape[:2]:
            array = array[..., None]
        if array.shape != description.shape or array.dtype != description.dtype:
            found = (array.shape, array.dtype, description.shape, description.dtype)
            raise ValueError("%s of %s, but frames are %s of %s: see describe()" % found)
        with self._lock:
            self.tend()
            slot = self._acquire()
            slot = self._wait(self._acquire, timeout) if slot is None and block else slot
            if slot is None:
                return None
            self._still = (None, 0)
            self._views[slot][...] = array
            pts, duration, offset = (NONE if value is None else value for value in (pts, duration, offset))
            at, sequence, stride = SLOTS_AT + slot * SLOT_BYTES, self._newest + 1, self.description.stride
            entry = (pts, duration, clock_ns(), stride * self.description.height, stride, flags, offset)
            self._control.memory[at + 8 : at + 8 + SLOT.size] = SLOT.pack(*entry)
            self._words.store(at, sequence)
            self._words.store(NEWEST, sequence << 8 | slot)
            self._sequences[slot], self._newest, self._newest_slot = sequence, sequence, slot
            self._say(self._state & ~EOS)
            return sequence

    def describe(self, width, height, channels=4, dtype="u1", **description):
        """Frames of another description from now on. If delivery is lossless, `drain` first, or frames are lost."""
        with self._lock:
            self._offer(Description(width, height, channels, dtype, **description))

    def end(self):
        """Says that no frame will follow, until one does."""
        with self._lock:
            self._say(self._state | EOS)

    def drain(self, timeout=None):
        """Waits until every reader has taken every frame (lossless); whether they have."""
        drained = lambda: True if self._newest_slot is None or self._floor() >= self._newest else None  # noqa: E731
        with self._lock:
            return bool(self._wait(drained, timeout))

    def tend(self):
        """Keeps the names and looks after the readers. `publish` does it; who rarely publishes calls it in between."""
        if not self._open or self._process != os.getpid():
            raise TdlinkError("the writer is closed, or another process's")
        try:
            if not self._pixels.keep():
                self._pixels = self._pixels.close()
                self._offer(self.description)
        except NameTaken:
            self._say(self._state | SUPERSEDED)
            self.close()
            raise
        if time.monotonic() - self._tended < SLICE:
            return
        self._tended = time.monotonic()
        self._update()
        self._bury()
        if self._control.memory.size() < SEGMENT or self._pixels.memory.size() < len(self._pixels.memory):
            raise ProtocolError("another program cut a segment of %r short" % self.name)
        here = self._control.linked()
        if not here:
            self._say(self._state | SUPERSEDED)
            if here is False:
                self.close()
                raise NameTaken("another producer has taken the name %r" % self.name)
            self._open = False  # somebody removed the control segment: a new one
            self._control.unlock(0)
            self._control.close()
            try:
                self._begin()
            finally:
                self._pixels.close() if not self._open else None
            self._offer(self.description)

    def close(self):
        """Tells the readers, and gives the names back."""
        if not self._open or self._process != os.getpid():
            return
        self._open, self._views = False, None
        self._say(self._state | CLOSED)
        if self._pixels:
            self._pixels.close()
        self._control.unlock(0)
        self._control.close()

    def _begin(self):
        """Takes the control segment, with the numbers that a predecessor left there."""
        control = self._control = _Control.produce(self.name, self.mode, self.any_user)
        self._words, self._open, data = control.words, True, control.memory[:HEADER_BYTES]
        self._rows = [_Row(ROWS_AT + row * ROW_BYTES) for row in range(MAX_ROWS)]
        if data[:8] != bytes(8):
            left = None
            try:
                header = _Header(data, SEGMENT)
                left = Description._parse(data, header)
            except ProtocolError:
                control.memory[:] = bytes(SEGMENT)  # another program's, or another version's
            if not self._pixels:
                control.discard(left)
        newest, edition = self._words.load(NEWEST) >> 8, self._words.load(EDITION)
        self._newest = max(self._newest, newest if newest < 1 << 54 else 0)
        self.generation = max(self.generation, edition // 2 if edition < LAST else 0)

    def _offer(self, description):
        """Begins a generation. A ring's old pixels stay in force until there are new ones; raw ones change in place."""
        words, old = self._words, self._pixels
        if self.slots == 1 or not old:
            words.store(EDITION, self.generation * 2 | 1)
            _order()
            if old and sys.platform == "win32":
                self._say(self._state)  # a section cannot grow while anybody has it open: sleepers let go of it
        frame, number = description.stride * description.height, self.generation + 1
        distance = frame if self.slots == 1 else -(-frame // 16384) * 16384
        size, failed = distance * self.slots, None
        try:
            if old and self.slots == 1:
                self._views = None
                old.resize(number, size, self.mode)
            else:
                self._pixels = _make_pixels(self.name, self.slots, number, size, self.mode)
            pixels, self.description = self._pixels, description
            description.name, description.size, description.identity = pixels.file, size, pixels.identity
            description.slots, description.slot_stride, description.frame_size = self.slots, distance, distance
        except Exception as error:
            if not old or self.slots > 1:
                raise
            failed, pixels, description, old.generation = error, old, self.description, number  # the old one goes on
        words.store(EDITION, self.generation * 2 | 1)
        _order()
        self.generation = pixels.generation
        for row in self._rows:
            row.granted = 0
            words.store(row.at + GRANT, row.count << 32)
        self._newest_slot, self._sequences, self._state = None, [0] * self.slots, 0
        words.store(NEWEST, self._newest << 8 | NO_SLOT)
        for slot in range(MAX_SLOTS):
            words.store(SLOTS_AT + slot * SLOT_BYTES, 0)
        words.store32(STATE, 0)
        header = _Header._bytes(self.lossless)
        self._control.memory[8 : 8 + len(header)] = header
        self._control.memory[DESCRIPTION_AT:HEADER_BYTES] = description._bytes()
        words.store(EDITION, self.generation * 2)
        words.store(0, MAGIC)
        if old and old is not pixels:
            old.close()
        strides = (description.stride, description.item, description.dtype.itemsize)
        starts = (slot * description.slot_stride for slot in range(self.slots))
        views = (np.ndarray(description.shape, description.dtype, pixels.memory, at, strides) for at in starts)
        self._views = [view if description.origin == "top-left" else view[::-1] for view in views]
        self._update()
        self._say(0)
        if failed:
            raise failed

    def _say(self, state):
        """Changes the state, if it is another one, and wakes who sleeps."""
        if state != self._state:
            self._state = state
            self._words.store32(STATE, state)
        self._words.store32(WAKE, self._words.load32(WAKE) + 1)
        _fence()  # either we see the sleeper's sign, or it sees the news
        who = (number for number, row in enumerate(self._rows) if self._words.load32(row.at + WAITING))
        self._control.ring(WAKE, sum(1 << number for number in who))

    def _update(self):
        """Takes note of rows that were claimed or given back, and hands out what is left of the budget."""
        for row in self._rows:
            claim = self._words.load(row.at + CLAIM)
            count, active = claim >> 32, bool(claim & ACTIVE)
            if count != row.count or active != (row.live or row.dead):
                row.__init__(row.at, count, active, claim & 0xFF)
        left = (max(self.slots - 2, 0) if _FENCE else 0) - sum(row.granted for row in self._rows)
        for row in self._rows:
            more = min(row.wish - row.granted, left) if row.live else 0
            if more > 0:
                row.granted, left = row.granted + more, left - more
                self._words.store(row.at + GRANT, row.count << 32 | row.granted)

    def _bury(self):
        """Asks the system which readers have died; whether one had."""
        dead = [row for number, row in enumerate(self._rows) if row.live and not self._control.locked(1 + number)]
        for row in dead:
            row.live, row.dead, row.granted = False, True, 0
        return bool(dead)

    def _leased(self):
        """A bit for each slot that a reader may hold. Leases beyond a grant, and of other generations, do not count."""
        held = 0
        for row in self._rows:
            if row.granted:
                claim, lease = self._words.load(row.at + CLAIM), self._words.load(row.at + LEASE)
                if claim >> 32 == row.count and claim & ACTIVE and lease >> 32 == self.generation & LOW:
                    held |= sum([1 << slot for slot in range(32) if lease >> slot & 1][: row.granted])
        return held

    def _floor(self):
        """The frame up to which everybody has taken everything."""
        floor = NONE
        for row in self._rows if self.lossless else ():
            claim, taken = self._words.load(row.at + CLAIM), self._words.load(row.at + TAKEN)
            known = claim >> 32 == row.count
            if claim & ACTIVE and not (known and (row.dead or row.let_go_at == taken)):
                floor = min(floor, taken)
        return floor

    def _acquire(self):
        """A slot to write, marked; None when there is none."""
        self._update()
        while True:
            leased, floor = self._leased(), self._floor()
            # The one that was written longest ago: who copies without a lease gets as much time as there is.
            for slot in sorted(range(self.slots), key=self._sequences.__getitem__):
                sequence, at = self._sequences[slot], SLOTS_AT + slot * SLOT_BYTES
                if leased >> slot & 1 or sequence > floor or (self.slots > 1 and slot == self._newest_slot):
                    continue
                self._words.store(at, sequence | WRITING)
                _fence()  # who does not see a lease or a claim that we look for now has seen the mark
                if not self._leased() >> slot & 1 and sequence <= self._floor():
                    return slot
                self._words.store(at, sequence)
            if not self._bury():
                return None

    def _wait(self, attempt, timeout):
        """Repeats `attempt` whenever a reader gave something free."""
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            self._bury()
            self._let_go()
            self._words.store32(PRODUCER_WAITING, 1)
            _fence()
            try:
                seen, outcome, left = self._words.load32(FREED), attempt(), until - time.monotonic()
                if outcome is not None or left <= 0:
                    return outcome
                self._control.sleep(FREED, 0, seen, min(left, 0.02))
            finally:
                self._words.store32(PRODUCER_WAITING, 0)

    def _let_go(self):
        """Waits no more for readers that have stood still for too long, until they move again."""
        floor, now = self._floor(), time.monotonic()
        if floor != self._still[0]:
            self._still = (floor, now)
        elif floor != NONE and now - self._still[1] >= self.lossless_timeout:
            for row in self._rows:
                taken = self._words.load(row.at + TAKEN)
                if row.live and taken <= floor:
                    row.let_go_at = taken


# --- by hand --------------------------------------------------------------------------------------------------------


def main(what="help", name="", size="640x480"):
    if what == "info":
        with Reader(name) as reader:
            reader.read(timeout=1.0)
            for key, value in sorted(vars(reader.description).items() if reader.description else ()):
                print("%-14s %s" % (key, value)) if key[0] != "_" else None
    elif what == "view":
        for frame in Reader(name, follow=True):
            late, how = (clock_ns() - frame.published) / 1e6, "leased" if frame.leased else "copied"
            print("%8d  %dx%d %s, %.3f ms after it was published" % (frame.sequence, *frame.size, how, late))
    elif what == "send":
        width, height = (int(part) for part in size.split("x"))
        picture = np.full((height, width, 4), 255, np.uint8)
        picture[..., 0], picture[..., 1] = np.linspace(0, 255, width), np.linspace(0, 255, height)[:, None]
        with Writer(name, width, height, fps=60) as writer:
            while True:
                picture = np.roll(picture, 4, axis=1)
                writer.publish(picture, pts=clock_ns(), flags=PTS_ON_CLOCK)
                time.sleep(1 / 60)
    elif what in ("help", "-h", "--help"):
        print(__doc__)
    else:
        sys.exit("%r is none of info, view, send" % what)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (TdlinkError, ValueError) as error:
        sys.exit("error: %s" % error)
    except KeyboardInterrupt:
        pass
