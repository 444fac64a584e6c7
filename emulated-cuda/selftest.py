# SPDX-License-Identifier: MPL-2.0
"""The rules of a CUDA driver, asked through ctypes in two processes: of the emulated one, or of a real one.

    selftest.py [LIBRARY]        libcuda.so.1 if none is named; exit status 1 when a rule does not hold

What the two drivers may answer differently is printed with its code, not judged, unless the library is the emulated one.
"""
import ctypes as c
import os
import subprocess
import sys

SIZE = 8 << 20
PICTURES = 12


class Ipc(c.Structure):
    _fields_ = [("bytes", c.c_ubyte * 64)]

    def hex(self):
        return bytes(self.bytes).hex()


class Copy2d(c.Structure):
    _fields_ = [(side + name, kind) for side in ("src", "dst") for name, kind in (
        ("X", c.c_size_t), ("Y", c.c_size_t), ("Type", c.c_uint), ("Host", c.c_void_p), ("Device", c.c_uint64),
        ("Array", c.c_void_p), ("Pitch", c.c_size_t))] + [("width", c.c_size_t), ("height", c.c_size_t)]


class Driver:
    """The library; `made` calls an entry that must succeed and gives what it wrote through its first argument."""

    def __init__(self, path):
        self.path = path
        self.library = c.CDLL(path)
        self.failures = 0

    def code(self, name, *arguments):
        function = getattr(self.library, name)
        return function(*[c.c_uint64(a) if isinstance(a, int) else a for a in arguments])

    def ok(self, name, *arguments):
        code = self.code(name, *arguments)
        if code:
            raise SystemExit(f"{name} gives {code}")

    def made(self, kind, name, *arguments):
        value = kind()
        self.ok(name, c.byref(value), *arguments)
        return value if kind is Ipc else value.value or 0

    def expect(self, what, found, wanted):
        good = found == wanted
        self.failures += not good
        print(f"{'ok  ' if good else 'FAIL'} {what}" + ("" if good else f": {found}, expected {wanted}"), flush=True)

    def differs(self, what, found, emulated):
        """A rule of the emulated driver that nobody has compared: judged there only."""
        if self.is_emulated():
            self.expect(what, found, emulated)
        else:
            print(f"{'same' if found == emulated else 'DIFF'} {what}: {found}, emulated {emulated}", flush=True)

    def is_emulated(self):
        name = c.create_string_buffer(100)
        self.ok("cuDeviceGetName", name, c.c_int(100), c.c_int(0))
        return name.value.startswith(b"Emulated")

    def begin(self):
        self.ok("cuInit", c.c_uint(0))
        context = self.made(c.c_uint64, "cuDevicePrimaryCtxRetain", c.c_int(0))
        self.ok("cuCtxSetCurrent", context)
        return context

    def pinned(self, size):
        return self.made(c.c_uint64, "cuMemHostAlloc", size, c.c_uint(0))

    def open_memory(self, handle, flags=1):
        pointer = c.c_uint64()
        return self.library.cuIpcOpenMemHandle_v2(c.byref(pointer), handle, c.c_uint(flags)), pointer.value


def alone(cu):
    """Rules of one process."""
    context = cu.begin()
    memory = cu.made(c.c_uint64, "cuMemAlloc_v2", 2 << 20)
    host = cu.pinned(2 << 20)
    cu.expect("a copy past the end is refused", cu.code("cuMemcpyDtoH_v2", host, memory, (2 << 20) + 1), 1)
    c.memset(host, 7, 2 << 20)
    cu.ok("cuMemcpyHtoD_v2", memory, host, 2 << 20)
    c.memset(host, 0, 2 << 20)
    cu.ok("cuMemcpyDtoH_v2", host, memory, 2 << 20)
    cu.expect("bytes come back", c.string_at(host, 2 << 20), b"\x07" * (2 << 20))
    base, size = c.c_uint64(), c.c_size_t()
    cu.ok("cuMemGetAddressRange_v2", c.byref(base), c.byref(size), memory + 5)
    cu.expect("an allocation is found by a pointer into it", (base.value, size.value), (memory, 2 << 20))

    pitch, rows = c.c_size_t(), c.c_uint64()
    cu.ok("cuMemAllocPitch_v2", c.byref(rows), c.byref(pitch), 13, 5, c.c_uint(4))
    picture = bytes(range(65))
    back = c.create_string_buffer(100)
    up = Copy2d(srcType=1, srcHost=c.cast(c.c_char_p(picture), c.c_void_p), srcPitch=13, dstType=2,
                dstDevice=rows.value, dstPitch=pitch.value, width=13, height=5)
    down = Copy2d(srcType=2, srcDevice=rows.value, srcPitch=pitch.value, dstType=1,
                  dstHost=c.addressof(back), dstPitch=20, width=13, height=5)
    cu.ok("cuMemcpy2D_v2", c.byref(up))
    cu.ok("cuMemcpy2D_v2", c.byref(down))
    lines = [back.raw[20 * y:20 * y + 20] for y in range(5)]
    cu.expect("rows keep to the pitch of each side", lines, [picture[13 * y:13 * y + 13] + bytes(7) for y in range(5)])

    stream = cu.made(c.c_uint64, "cuStreamCreate", c.c_uint(1))
    event = cu.made(c.c_uint64, "cuEventCreate", c.c_uint(2))
    cu.expect("an event that was never recorded is complete", cu.code("cuEventQuery", event), 0)
    cu.ok("cuEventRecord", event, stream)
    cu.ok("cuEventSynchronize", event)
    cu.expect("a synchronised event is complete", cu.code("cuEventQuery", event), 0)
    handle = Ipc()
    cu.differs("an event of one process has no handle", cu.code("cuIpcGetEventHandle", c.byref(handle), event), 400)
    cu.differs("an event for other processes cannot have timing", cu.code("cuEventCreate", c.byref(c.c_uint64()), c.c_uint(4)), 1)
    cu.ok("cuIpcGetMemHandle", c.byref(handle), memory)
    cu.expect("a process does not open its own memory", cu.open_memory(handle)[0], 201)
    cu.expect("the flag must be given", cu.open_memory(handle, 0)[0], 1)
    cu.differs("a handle of nothing", cu.open_memory(Ipc())[0], 1)
    cu.differs("a handle for the inside of an allocation", cu.code("cuIpcGetMemHandle", c.byref(handle), memory + 512), 1)
    if cu.is_emulated():
        cu.expect("a destroyed stream is found out", [cu.code("cuStreamDestroy_v2", stream), cu.code("cuStreamQuery", stream)],
                  [0, 400])
        cu.expect("a freed pointer is found out", [cu.code("cuMemFree_v2", memory), cu.code("cuMemFree_v2", memory)], [0, 1])
    cu.ok("cuCtxSetCurrent", 0)
    cu.expect("nothing works without a context", cu.code("cuMemAlloc_v2", c.byref(rows), 1), 201)
    cu.expect("an empty stack has nothing to pop", cu.code("cuCtxPopCurrent_v2", None), 201)
    cu.ok("cuCtxSetCurrent", context)


def reader(cu, how):
    """The other process: says for each picture which byte it saw."""
    cu.begin()
    memory_handle, event_handle = (Ipc.from_buffer_copy(bytes.fromhex(sys.stdin.readline())) for _ in range(2))
    code, memory = cu.open_memory(memory_handle)
    assert code == 0, f"the memory does not open: {code}"
    event = c.c_uint64()
    assert cu.library.cuIpcOpenEventHandle(c.byref(event), event_handle) == 0
    stream, host = cu.made(c.c_uint64, "cuStreamCreate", c.c_uint(1)), cu.pinned(SIZE)
    print("ready", flush=True)
    for _ in range(PICTURES):
        sys.stdin.readline()
        if how == "stream":
            cu.ok("cuStreamWaitEvent", stream, event.value, c.c_uint(0))
        elif how == "host":
            cu.ok("cuEventSynchronize", event.value)
        elif how == "query":
            while cu.code("cuEventQuery", event.value) == 600:
                pass
        cu.ok("cuMemcpyDtoHAsync_v2", host, memory, SIZE, stream)
        cu.ok("cuStreamSynchronize", stream)
        seen = c.string_at(host, SIZE)
        print(seen[0] if seen == seen[:1] * SIZE else "torn", flush=True)
        c.memset(host, 0, SIZE)
    print(cu.code("cuIpcCloseMemHandle", memory), cu.code("cuIpcCloseMemHandle", memory), flush=True)


def pictures(cu, how, mutant=None):
    """How many of the pictures another process saw as they should be. Only this one is slow."""
    context = cu.begin()
    stream = cu.made(c.c_uint64, "cuStreamCreate", c.c_uint(1))
    memory, host = cu.made(c.c_uint64, "cuMemAlloc_v2", SIZE), cu.pinned(SIZE)
    event = cu.made(c.c_uint64, "cuEventCreate", c.c_uint(6))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EMULATED_CUDA_")}
    if mutant:
        environment["EMULATED_CUDA_" + mutant] = "1"
    other = subprocess.Popen([sys.executable, __file__, cu.path, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             env=environment, text=True)

    def say(line):
        other.stdin.write(line + "\n")
        other.stdin.flush()

    say(cu.made(Ipc, "cuIpcGetMemHandle", memory).hex())
    say(cu.made(Ipc, "cuIpcGetEventHandle", event).hex())
    assert other.stdout.readline().strip() == "ready"
    right = 0
    for number in range(1, PICTURES + 1):
        c.memset(host, number, SIZE)
        for _ in range(3):
            cu.ok("cuMemcpyHtoDAsync_v2", memory, host, SIZE, stream)
        cu.ok("cuEventRecord", event, stream)
        say("look")
        right += other.stdout.readline().strip() == str(number)
        cu.ok("cuStreamSynchronize", stream)
    closed = other.stdout.readline().split()
    if other.wait():
        raise SystemExit("the other process failed")
    cu.differs("an import is closed once", closed, ["0", "1"])
    for name, handle in (("cuEventDestroy_v2", event), ("cuStreamDestroy_v2", stream), ("cuMemFree_v2", memory), ("cuMemFreeHost", host)):
        cu.ok(name, handle)
    cu.ok("cuCtxSetCurrent", context)
    return right


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "libcuda.so.1"
    # Read by the emulated driver when it is loaded; a real one ignores it.
    if len(sys.argv) <= 2 and "EMULATED_CUDA_COPY_DELAY_US" not in os.environ:
        os.environ["EMULATED_CUDA_COPY_DELAY_US"] = "30000"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    cu = Driver(path)
    if len(sys.argv) > 2:
        return reader(cu, sys.argv[2])
    alone(cu)
    for how in ("stream", "host", "query"):
        cu.expect(f"who waits ({how}) sees every picture whole", pictures(cu, how), PICTURES)
    if cu.is_emulated():
        cu.expect("who does not wait sees none", pictures(cu, "none"), 0)
        cu.expect("events that are always complete are seen", pictures(cu, "stream", "BREAK_EVENTS"), 0)
        cu.expect("a synchronisation that does nothing is seen", pictures(cu, "host", "BREAK_SYNC"), 0)
    print(f"{cu.failures} rules do not hold" if cu.failures else "every rule holds")
    return 1 if cu.failures else 0


if __name__ == "__main__":
    sys.exit(main())
