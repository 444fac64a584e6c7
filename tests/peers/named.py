# SPDX-License-Identifier: MPL-2.0
"""Named sections and mutexes: Windows' own, and on Linux the files and locks that stand in for them, as the last chapter of
docs/protocol/touch.md has it. On the standard library alone."""

import ctypes
import os
import struct
import time

WINDOWS = os.name == "nt"

if WINDOWS:
    k32 = ctypes.WinDLL("kernel32", use_last_error=True)
    HANDLE, DWORD, BOOL = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int
    k32.CreateFileMappingW.restype = HANDLE
    k32.CreateFileMappingW.argtypes = [HANDLE, ctypes.c_void_p, DWORD, DWORD, DWORD, ctypes.c_wchar_p]
    k32.OpenFileMappingW.restype = HANDLE
    k32.OpenFileMappingW.argtypes = [DWORD, BOOL, ctypes.c_wchar_p]
    k32.MapViewOfFile.restype = ctypes.c_void_p
    k32.MapViewOfFile.argtypes = [HANDLE, DWORD, DWORD, DWORD, ctypes.c_size_t]
    k32.UnmapViewOfFile.argtypes = [ctypes.c_void_p]
    k32.CloseHandle.argtypes = [HANDLE]
    k32.CreateMutexW.restype = HANDLE
    k32.CreateMutexW.argtypes = [ctypes.c_void_p, BOOL, ctypes.c_wchar_p]
    k32.OpenMutexW.restype = HANDLE
    k32.OpenMutexW.argtypes = [DWORD, BOOL, ctypes.c_wchar_p]
    k32.WaitForSingleObject.argtypes = [HANDLE, DWORD]
    k32.ReleaseMutex.argtypes = [HANDLE]
    ERROR_ALREADY_EXISTS = 183
    FILE_MAP_ALL_ACCESS, SYNCHRONIZE = 0xF001F, 0x100000

    class Basic(ctypes.Structure):
        _fields_ = [
            ("base", ctypes.c_void_p),
            ("allocation", ctypes.c_void_p),
            ("allocation_protect", DWORD),
            ("partition", ctypes.c_uint16),
            ("size", ctypes.c_size_t),
            ("state", DWORD),
            ("protect", DWORD),
            ("type", DWORD),
        ]

    k32.VirtualQuery.restype = ctypes.c_size_t
    k32.VirtualQuery.argtypes = [ctypes.c_void_p, ctypes.POINTER(Basic), ctypes.c_size_t]

    class Section:
        """A named section and a view of all of it."""

        def __init__(self, name, size=None):
            if size is None:
                self.handle = k32.OpenFileMappingW(FILE_MAP_ALL_ACCESS, 0, name)
                if not self.handle:
                    raise FileNotFoundError(name)
            else:
                ctypes.set_last_error(0)
                self.handle = k32.CreateFileMappingW(HANDLE(-1), None, 4, size >> 32, size & 0xFFFFFFFF, name)
                if not self.handle:
                    raise ctypes.WinError(ctypes.get_last_error())
                if ctypes.get_last_error() == ERROR_ALREADY_EXISTS:
                    k32.CloseHandle(self.handle)
                    raise FileExistsError(name)
            self.view = k32.MapViewOfFile(self.handle, FILE_MAP_ALL_ACCESS, 0, 0, 0)
            if not self.view:
                raise ctypes.WinError(ctypes.get_last_error())
            basic = Basic()
            k32.VirtualQuery(self.view, ctypes.byref(basic), ctypes.sizeof(basic))
            self.size = basic.size

        def read(self, offset, size):
            assert 0 <= offset and offset + size <= self.size, (offset, size, self.size)
            return ctypes.string_at(self.view + offset, size)

        def write(self, offset, data):
            assert 0 <= offset and offset + len(data) <= self.size, (offset, len(data), self.size)
            ctypes.memmove(self.view + offset, bytes(data), len(data))

        def close(self):
            k32.UnmapViewOfFile(self.view)
            k32.CloseHandle(self.handle)

    class Mutex:
        def __init__(self, name):
            self.handle = k32.CreateMutexW(None, 0, name)
            if not self.handle:
                raise ctypes.WinError(ctypes.get_last_error())

        def lock(self, seconds=5.0):
            """True: it was abandoned. None: not to be had in time."""
            outcome = k32.WaitForSingleObject(self.handle, int(seconds * 1000))
            return {0: False, 0x80: True, 0x102: None}[outcome]

        def unlock(self):
            if not k32.ReleaseMutex(self.handle):
                raise ctypes.WinError(ctypes.get_last_error())

        def close(self):
            k32.CloseHandle(self.handle)

        @staticmethod
        def exists(name):
            handle = k32.OpenMutexW(SYNCHRONIZE, 0, name)
            if handle:
                k32.CloseHandle(handle)
            return bool(handle)

else:
    import fcntl
    import mmap

    # struct flock of 64-bit Linux.
    FLOCK = struct.Struct("hhqqi4x")
    F_OFD_GETLK, F_OFD_SETLK = 36, 37
    HOLDER, MUTEX = (1 << 40) + 1, (1 << 40) + 2

    def try_lock(fd, kind, byte):
        try:
            fcntl.fcntl(fd, F_OFD_SETLK, FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0))
            return True
        except (BlockingIOError, PermissionError):
            return False

    def is_locked(fd, byte):
        answer = fcntl.fcntl(fd, F_OFD_GETLK, FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
        return FLOCK.unpack(answer)[0] != fcntl.F_UNLCK

    class Held:
        """A file of /dev/shm that lives as long as somebody holds it."""

        def __init__(self, name, size=None):
            self.path = "/dev/shm/" + name
            if size is None:
                self.open()
            else:
                self.create(size)

        def create(self, size):
            # With a folder's descriptor it is linkat, which can follow the link that /proc has for an open file.
            folder = os.open("/dev/shm", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fd = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            os.ftruncate(fd, size)
            assert try_lock(fd, fcntl.F_RDLCK, HOLDER)
            while True:
                try:
                    os.link(f"/proc/self/fd/{fd}", self.path, src_dir_fd=folder, follow_symlinks=True)
                    os.close(folder)
                    self.fd = fd
                    return
                except FileExistsError:
                    try:
                        found = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
                    except FileNotFoundError:
                        continue
                    stale = try_lock(found, fcntl.F_WRLCK, HOLDER)
                    if stale and self.is_at(found):
                        os.unlink(self.path)
                    os.close(found)
                    if not stale:
                        os.close(fd)
                        os.close(folder)
                        raise

        def open(self):
            while True:
                fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
                if not is_locked(fd, HOLDER):
                    os.close(fd)
                    raise FileNotFoundError(self.path)
                if try_lock(fd, fcntl.F_RDLCK, HOLDER) and self.is_at(fd):
                    self.fd = fd
                    return
                os.close(fd)

        def is_at(self, fd):
            try:
                there, ours = os.stat(self.path), os.fstat(fd)
            except FileNotFoundError:
                return False
            return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

        def close(self):
            try_lock(self.fd, fcntl.F_UNLCK, HOLDER)
            if try_lock(self.fd, fcntl.F_WRLCK, HOLDER) and self.is_at(self.fd):
                os.unlink(self.path)
            os.close(self.fd)

    class Section(Held):
        def __init__(self, name, size=None):
            super().__init__(name, size)
            self.size = os.fstat(self.fd).st_size
            self.map = mmap.mmap(self.fd, self.size)

        def read(self, offset, size):
            assert 0 <= offset and offset + size <= self.size, (offset, size, self.size)
            return self.map[offset : offset + size]

        def write(self, offset, data):
            assert 0 <= offset and offset + len(data) <= self.size, (offset, len(data), self.size)
            self.map[offset : offset + len(data)] = data

        def close(self):
            self.map.close()
            super().close()

    class Mutex(Held):
        def __init__(self, name):
            while True:
                try:
                    super().__init__(name)
                    return
                except FileNotFoundError:
                    pass
                try:
                    super().__init__(name, 4)
                    return
                except FileExistsError:
                    pass

        def lock(self, seconds=5.0):
            """True: it was abandoned. None: not to be had in time."""
            end = time.monotonic() + seconds
            while not try_lock(self.fd, fcntl.F_WRLCK, MUTEX):
                if time.monotonic() >= end:
                    return None
                time.sleep(0.0001)
            before = os.pread(self.fd, 4, 0)
            os.pwrite(self.fd, struct.pack("<I", os.getpid()), 0)
            return before != bytes(4)

        def unlock(self):
            os.pwrite(self.fd, bytes(4), 0)
            try_lock(self.fd, fcntl.F_UNLCK, MUTEX)

        @staticmethod
        def exists(name):
            try:
                Held(name).close()
                return True
            except FileNotFoundError:
                return False
