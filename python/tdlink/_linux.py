# SPDX-License-Identifier: MPL-2.0
"""Linux: files of /dev/shm, locks, futexes."""

import ctypes
import errno
import mmap
import os
import stat
import struct
import sys
import time

from ._wire import HEADER_BYTES, LAST, NameTaken, ProtocolError, SEGMENT, SLICE, TdlinkError, _sound, clock_ns
from ._words import _FENCE, _FUTEX, _SYSCALL, _Words

NAME_BYTE, ALL_BYTES = 1 << 40, (1 << 40) + 1
_POPULATE = 0x8000  # MAP_POPULATE: every page at hand, so that no frame pays for it
_LOCKED = set()  # descriptors whose locks a forked child must not share
if sys.platform == "linux":
    import fcntl

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
