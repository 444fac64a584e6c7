# SPDX-License-Identifier: MPL-2.0
"""The Shared Mem TOPs' protocol as docs/protocol/touch.md has it, both ends, on the standard library alone (Python 3.10 or newer). It shares no code with
the plugin.

Told line by line on stdin what to do; answers each line with one line:

    send NAME WIDTH HEIGHT FORMAT HEADER   become the sender; FORMAT is a number, or gl:FORMAT:TYPE; HEADER v1, v2 or gl
    fill NUMBER                            a frame of which every 4 bytes are that number
    paint SEED PATH                        a frame of any pixels; PATH gets them as RGBA of 16 bits, top row first
    resize WIDTH HEIGHT FORMAT             the dance of another size; answers the postfix, or "same"
    play PERIOD_MS                         frames from then on, each filled with its number; every one differs
    stop                                   no more of them; answers the last number
    half NUMBER                            take the mutex, write a header and half of a frame, keep the mutex
    raw HEX                                overwrite the first bytes of the pixels' segment
    raw-info HEX                           the same of the info segment
    detach                                 say the end and close
    vanish                                 close without a word, as the kernel does for a dead process
    noinfo NAME WIDTH HEIGHT FORMAT HEADER become a sender without an info segment
    recv NAME [old]                        become a receiver; old: one that does not follow resizes
    see PATH                               the newest frame; PATH gets it as above; answers what the header says
    number                                 the newest frame, which must be one number; answers it, or "torn"
    leave                                  close the receiver
    lock | unlock                          hold the pixels' mutex
    wait NAME                              open the mutex alone, as a TOP does that waits
    exists NAME                            which of the objects are there
"""

import math
import random
import struct
import sys
import threading

from named import Mutex, Section

GL_MAGIC, VK_MAGIC, INFO_MAGIC = 0xE95DF673, 0xD95EF835, 0x56ED34BA


# Names.


def data_name(name, postfix=""):
    return "TouchSHM" + name + postfix


def mutex_name(name):
    return "TouchSHM" + name + "Mutex"


def info_name(name):
    return "TouchSHMTouchSHM" + name + "4jhd783h"


def info_mutex_name(name):
    return info_name(name) + "Mutex"


# Info segment, as Windows has it.

INFO_SIZE = 76


def pack_info(supported, postfix, detach):
    letters = postfix.encode("utf-16-le").ljust(64, b"\0")
    return struct.pack("<iiB", INFO_MAGIC, 2, supported).ljust(10, b"\0") + letters + bytes([detach, 0])


def unpack_info(data):
    magic, version, supported = struct.unpack_from("<iiB", data)
    if magic != INFO_MAGIC:
        return None
    letters = data[10:74].decode("utf-16-le")
    return supported != 0, letters.split("\0")[0], version >= 2 and data[74] != 0


# Pixels: name of the components in memory, struct letter of one.

VULKAN = {
    9: ("R", "B"), 16: ("RG", "B"), 37: ("RGBA", "B"), 43: ("RGBA", "B"), 44: ("BGRA", "B"), 50: ("BGRA", "B"),
    64: ("1010102", None), 122: ("111110", None),
    70: ("R", "H"), 77: ("RG", "H"), 91: ("RGBA", "H"),
    76: ("R", "e"), 83: ("RG", "e"), 97: ("RGBA", "e"),
    100: ("R", "f"), 103: ("RG", "f"), 109: ("RGBA", "f"),
    0xF0001: ("Y", "B"), 0xF0002: ("Y", "H"), 0xF0003: ("Y", "e"), 0xF0004: ("Y", "f"),
    0xF0005: ("YA", "B"), 0xF0006: ("YA", "H"), 0xF0007: ("YA", "e"), 0xF0008: ("YA", "f"),
}  # fmt: skip
# Grey, alpha and luminance alone are shown as grey.
GL_FORMATS = {
    0x1903: "Y", 0x8227: "RG", 0x1907: "RGB", 0x1908: "RGBA", 0x190A: "YA", 0x1906: "Y", 0x1909: "Y", 0x80E0: "BGR",
    0x80E1: "BGRA", 0x8000: "ABGR",
}  # fmt: skip
GL_TYPES = {0x1401: "B", 0x1403: "H", 0x1406: "f", 0x140B: "e"}
TOP = {"B": 255, "H": 65535, "e": 1, "f": 1}


class Format:
    def __init__(self, text):
        self.text = text
        if text.startswith("gl:"):
            _, form, kind = text.split(":")
            self.numbers = int(form, 16), int(kind, 16)
            self.components, self.sample = GL_FORMATS[self.numbers[0]], GL_TYPES[self.numbers[1]]
        else:
            self.number = int(text, 0)
            self.components, self.sample = VULKAN[self.number]

    @property
    def size(self):
        return len(self.components) * struct.calcsize(self.sample) if self.sample else 4

    def paint(self, count, rng):
        """Any pixels, in memory and as R, G, B, A."""
        if self.sample is None:
            words = [rng.getrandbits(32) for _ in range(count)]
            return struct.pack(f"<{count}I", *words), self.shown(struct.pack(f"<{count}I", *words))
        top = TOP[self.sample]
        number = (lambda: rng.randint(0, top)) if top > 1 else (lambda: rng.uniform(-0.25, 1.25))
        values = [number() for _ in range(count * len(self.components))]
        data = struct.pack(f"<{len(values)}{self.sample}", *values)
        return data, self.shown(data)

    def shown(self, data):
        """The same as R, G, B, A from 0 to 1."""
        if self.components == "1010102":
            for (word,) in struct.iter_unpack("<I", data):
                ten = [(word >> shift & 1023) / 1023 for shift in (0, 10, 20)]
                yield (*ten, (word >> 30) / 3)
        elif self.components == "111110":
            for (word,) in struct.iter_unpack("<I", data):
                yield small(word & 2047, 6), small(word >> 11 & 2047, 6), small(word >> 22, 5), 1.0
        else:
            names, top = self.components, TOP[self.sample]
            for values in struct.iter_unpack(f"<{len(names)}{self.sample}", data):
                at = {name: value / top for name, value in zip(names, values)}
                grey = at.get("Y", at["R"] if names == "R" else None)
                if grey is not None:
                    yield grey, grey, grey, at.get("A", 1.0)
                else:
                    yield at["R"], at["G"], at.get("B", 0.0), at.get("A", 1.0)


def small(code, bits):
    """A float without a sign: 5 bits of exponent above `bits` of mantissa."""
    exponent, mantissa = code >> bits, (code & (1 << bits) - 1) / (1 << bits)
    if exponent == 31:
        return math.nan if mantissa else math.inf
    return mantissa * 2.0**-14 if exponent == 0 else (1 + mantissa) * 2.0 ** (exponent - 15)


def rgba64(pixels, width):
    """Pixels of bottom-up rows as RGBA of 16 bits, top row first."""
    rows, row = [], []
    for pixel in pixels:
        for value in pixel:
            inside = 0.0 if math.isnan(value) else min(max(value, 0.0), 1.0)
            row.append(round(inside * 65535))
        if len(row) == width * 4:
            rows.append(struct.pack(f"<{len(row)}H", *row))
            row = []
    return b"".join(reversed(rows))


# Header.


def pack_header(kind, width, height, form):
    size = width * height * form.size
    if kind == "gl":
        return struct.pack("<IiiiffIIIi", GL_MAGIC, 2, width, height, 1, 1, *form.numbers, 0x8058, 40)
    version, offset = {"v1": (1, 48), "v2": (2, 56)}[kind]
    front = struct.pack("<IiiiffI4xqi", VK_MAGIC, version, width, height, 1, 1, form.number, size, offset)
    return front.ljust(48, b"\0") if version == 1 else front + struct.pack("<II4x", 2, 1)


def unpack_header(data):
    magic, version, width, height, x, y = struct.unpack_from("<Iiiiff", data)
    if magic == GL_MAGIC:
        form, kind, _, offset = struct.unpack_from("<IIIi", data, 24)
        return version, width, height, x, y, Format(f"gl:{form:x}:{kind:x}"), offset, None
    assert magic == VK_MAGIC, hex(magic)
    number, size, offset = struct.unpack_from("<I4xqi", data, 24)
    colour = struct.unpack_from("<II", data, 44) if version >= 2 and offset >= 52 else None
    form = Format(str(number))
    assert size == width * height * form.size, size
    return version, width, height, x, y, form, offset, colour


class Sender:
    def __init__(self, name, width, height, form, kind, with_info=True):
        self.name, self.kind, self.postfix = name, kind, ""
        self.mutex = Mutex(mutex_name(name))
        self.info = self.info_mutex = self.data = None
        if with_info:
            self.info = Section(info_name(name), INFO_SIZE)
            self.info_mutex = Mutex(info_mutex_name(name))
            self.with_info(lambda _: self.info.write(0, pack_info(0, "", 0)))
        self.shape(width, height, form)
        try:
            self.data = Section(data_name(name), len(self.header) + self.size)
        except FileExistsError:
            self.vanish()
            raise

    def shape(self, width, height, form):
        self.width, self.height, self.form = width, height, form
        self.header = pack_header(self.kind, width, height, form)
        self.size = width * height * form.size

    def with_info(self, act):
        assert self.info_mutex.lock() is not None, "the info mutex is locked"
        try:
            return act(self.info.read(0, INFO_SIZE))
        finally:
            self.info_mutex.unlock()

    def write(self, pixels):
        assert self.mutex.lock() is not None, "the mutex is locked"
        self.data.write(0, self.header)
        self.data.write(len(self.header), pixels)
        self.mutex.unlock()

    def fill(self, number):
        self.write((struct.pack("<I", number) * (self.size // 4 + 1))[: self.size])

    def resize(self, width, height, form):
        self.shape(width, height, form)
        size = len(self.header) + self.size

        def dance(info):
            supported, _, _ = unpack_info(info)
            if supported:
                self.data.close()
                while True:
                    self.postfix = "".join(random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(31))
                    try:
                        self.data = Section(data_name(self.name, self.postfix), size)
                        break
                    except FileExistsError:
                        pass
                self.info.write(0, pack_info(1, self.postfix, 0))
                return self.postfix
            self.data.close()
            self.data = Section(data_name(self.name, self.postfix), size)
            return "same"

        return self.with_info(dance)

    def detach(self):
        if self.info:
            self.with_info(lambda info: self.info.write(74, b"\1"))
        self.vanish()

    def vanish(self):
        for each in (self.info, self.data, self.info_mutex, self.mutex):
            if each:
                each.close()
        self.info = self.data = self.info_mutex = self.mutex = None


class Receiver:
    def __init__(self, name, follows=True):
        self.name, self.follows, self.postfix = name, follows, ""
        self.mutex = Mutex(mutex_name(name))
        self.info = self.info_mutex = self.data = None
        try:
            self.info = Section(info_name(name))
        except FileNotFoundError:
            pass
        try:
            if self.info:
                self.info_mutex = Mutex(info_mutex_name(name))
                self.look(True)
            self.data = Section(data_name(name, self.postfix))
        except FileNotFoundError:
            self.leave()
            raise

    def look(self, first):
        """Follows the info segment; False when the sender has gone."""
        assert self.info_mutex.lock() is not None, "the info mutex is locked"
        try:
            said = unpack_info(self.info.read(0, INFO_SIZE))
            if said is None:
                return True
            _, postfix, detach = said
            if detach:
                return False
            if self.follows:
                self.info.write(8, b"\1")
                if postfix != self.postfix:
                    self.postfix = postfix
                    if not first:
                        self.data.close()
                        self.data = Section(data_name(self.name, postfix))
            return True
        finally:
            self.info_mutex.unlock()

    def frame(self):
        """Header and pixels of the newest frame; a word when the sender has gone or has written none."""
        assert self.mutex.lock() is not None, "the mutex is locked"
        try:
            if self.info and not self.look(False):
                self.close()
                return "detached"
            front = self.data.read(0, min(56, self.data.size))
            if front[:4] == bytes(4):
                return "nothing"
            header = unpack_header(front)
            form, offset = header[5], header[6]
            return header, self.data.read(offset, header[1] * header[2] * form.size)
        finally:
            self.mutex.unlock()

    def close(self):
        for each in (self.info, self.data, self.info_mutex):
            if each:
                each.close()
        self.info = self.info_mutex = self.data = None

    def leave(self):
        self.close()
        if self.mutex:
            self.mutex.close()
        self.mutex = None


class Play(threading.Thread):
    """Every frame differs from the one before it. The mutex is taken and given back on one thread."""

    def __init__(self, sender, period):
        super().__init__(daemon=True)
        self.sender, self.period, self.number, self.ends = sender, period, 0, threading.Event()

    def run(self):
        while not self.ends.wait(self.period):
            self.number += 1
            self.sender.fill(self.number)


class Peer:
    sender = receiver = play = waiting = None

    def close(self):
        """As an orderly program does; one that is killed leaves that to the kernel."""
        if self.play:
            self.play.ends.set()
            self.play.join()
        if self.sender:
            self.sender.vanish()
        if self.receiver:
            self.receiver.leave()
        if self.waiting:
            self.waiting.close()

    def obey(self, words):
        match words:
            case ["send" | "noinfo" as how, name, width, height, form, kind]:
                self.sender = Sender(name, int(width), int(height), Format(form), kind, how == "send")
                return "ok"
            case ["fill", number]:
                self.sender.fill(int(number))
                return "ok"
            case ["paint", seed, path]:
                sender = self.sender
                data, shown = sender.form.paint(sender.width * sender.height, random.Random(int(seed)))
                with open(path, "wb") as file:
                    file.write(rgba64(shown, sender.width))
                sender.write(data)
                return "ok"
            case ["resize", width, height, form]:
                return self.sender.resize(int(width), int(height), Format(form))
            case ["play", period]:
                self.play = Play(self.sender, float(period) / 1000)
                self.play.start()
                return "ok"
            case ["stop"]:
                self.play.ends.set()
                self.play.join()
                return str(self.play.number)
            case ["half", number]:
                sender = self.sender
                assert sender.mutex.lock() is not None, "the mutex is locked"
                sender.data.write(0, sender.header)
                sender.data.write(len(sender.header), struct.pack("<I", int(number)) * (sender.size // 8))
                return "ok"
            case ["raw", data]:
                self.sender.data.write(0, bytes.fromhex(data))
                return "ok"
            case ["raw-info", data]:
                self.sender.info.write(0, bytes.fromhex(data))
                return "ok"
            case ["detach"]:
                self.sender.detach()
                return "ok"
            case ["vanish"]:
                self.sender.vanish()
                return "ok"
            case ["recv", name, *old]:
                try:
                    self.receiver = None
                    self.receiver = Receiver(name, not old)
                except FileNotFoundError as missing:
                    return f"none {missing}"
                return "ok"
            case ["see", path]:
                frame = self.receiver.frame()
                if isinstance(frame, str):
                    return frame
                (version, width, height, x, y, form, offset, colour), data = frame
                with open(path, "wb") as file:
                    file.write(rgba64(form.shown(data), width))
                return f"{width}x{height} {form.text} version {version} at {offset} aspect {x:g}:{y:g} colour {colour}"
            case ["number"]:
                frame = self.receiver.frame()
                if isinstance(frame, str):
                    return frame
                data = frame[1]
                number = data[:4]
                return str(int.from_bytes(number, "little")) if data == number * (len(data) // 4) else "torn"
            case ["leave"]:
                self.receiver.leave()
                return "ok"
            case ["lock"]:
                side = self.sender or self.receiver
                return f"abandoned {side.mutex.lock()}"
            case ["unlock"]:
                (self.sender or self.receiver).mutex.unlock()
                return "ok"
            case ["wait", name]:
                self.waiting = Mutex(mutex_name(name))
                return "ok"
            case ["exists", name]:
                there = []
                for what, object_name in ("info", info_name(name)), ("data", data_name(name)):
                    try:
                        Section(object_name).close()
                        there.append(what)
                    except FileNotFoundError:
                        pass
                if Mutex.exists(mutex_name(name)):
                    there.append("mutex")
                return " ".join(there) or "nothing"
        return f"error {words} is no order"


def main():
    peer = Peer()
    for line in sys.stdin:
        try:
            answer = peer.obey(line.split())
        except Exception as error:  # the test is told, whatever it is
            answer = f"error {type(error).__name__}: {error}"
        print(answer, flush=True)
    peer.close()


if __name__ == "__main__":
    main()
