# SPDX-License-Identifier: MPL-2.0
"""What the peers of the tests share. Python 3.8 or newer; the standard library's SharedMemory, as programs beside
TouchDesigner use it."""
import os
import sys
from multiprocessing import shared_memory

SHM = "/dev/shm/"
WINDOWS = sys.platform == "win32"


def untrack(shm):
    """Before Python 3.13 this is the only way to keep the resource tracker from unlinking what was merely opened. Windows
    has none."""
    if WINDOWS:
        return
    from multiprocessing import resource_tracker

    resource_tracker.unregister(shm._name, "shared_memory")


def create(name, size, tracked=False):
    """A new segment. Untracked, so that a killed sender leaves its name behind; tracked, the tracker removes it."""
    shm = shared_memory.SharedMemory(name=name, create=True, size=size)
    if not tracked:
        untrack(shm)
    return shm


def attach(name, tracked=False):
    """An existing segment. Tracked, as Python does by default: the name goes when this process exits."""
    shm = shared_memory.SharedMemory(name=name)
    if not tracked:
        untrack(shm)
    return shm


def unlink(name):
    """Takes the name away; mappings of it live on. On Windows, as with CPython's own `unlink`, nothing happens: the name
    goes with the last who has it open."""
    if not WINDOWS:
        os.unlink(SHM + name)


def shown(size):
    """What a segment of `size` bytes seems to have: Windows shows whole pages."""
    return -(-size // 4096) * 4096 if WINDOWS else size


def peek(name):
    """All bytes under a name, which stays as it is."""
    shm = attach(name)
    try:
        return bytes(shm.buf)
    finally:
        shm.close()


heard = []


def hear():
    """Waits for a line of stdin, which is then the next one that `serve` answers. For a thread."""
    heard.append(sys.stdin.readline())


def serve(commands):
    """Answers each line of stdin with one line: what the command returns, or `error` and why not."""
    while True:
        line = heard.pop(0) if heard else sys.stdin.readline()
        if not line:
            break
        words = line.split()
        try:
            answer = commands[words[0]](*words[1:])
        except Exception as error:  # the test process decides what is fatal
            answer = "error %s: %s" % (type(error).__name__, " ".join(str(error).split()))
        print(answer, flush=True)
