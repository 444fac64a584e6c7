# SPDX-License-Identifier: MPL-2.0
"""The end that writes."""

import os
import sys
import threading
import time

from ._wire import (
    ACTIVE, CLAIM, CLOSED, DESCRIPTION_AT, Description, EDITION, EOS, FREED, GRANT, HEADER_BYTES, LAST, LEASE, LOW,
    MAGIC, MAX_ROWS, MAX_SLOTS, NEWEST, NONE, NO_SLOT, NameTaken, PRODUCER_WAITING, ProtocolError, ROWS_AT, ROW_BYTES,
    SEGMENT, SLICE, SLOT, SLOTS_AT, SLOT_BYTES, STATE, SUPERSEDED, TAKEN, TdlinkError, WAITING, WAKE, WRITING,
    _Header, _code, clock_ns,
)
from ._words import _FENCE, _fence, _order
from ._ends import _Control, _End, _check, _make_pixels


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
        """Copies `array` (row 0 on top) into a slot and shows it: a numpy array, or a frame's bytes without gaps. Gives
        its number, or None if no slot was free: at once with `block=False`, else within `timeout` seconds. That can
        only be if delivery is lossless."""
        put = self._bytes if isinstance(array, (bytes, bytearray, memoryview)) else self._array
        write = put(array)
        with self._lock:
            self.tend()
            slot = self._acquire()
            slot = self._wait(self._acquire, timeout) if slot is None and block else slot
            if slot is None:
                return None
            self._still = (None, 0)
            write(slot * self.description.slot_stride)
            pts, duration, offset = (NONE if value is None else value for value in (pts, duration, offset))
            at, sequence, stride = SLOTS_AT + slot * SLOT_BYTES, self._newest + 1, self.description.stride
            entry = (pts, duration, clock_ns(), stride * self.description.height, stride, flags, offset)
            self._control.memory[at + 8 : at + 8 + SLOT.size] = SLOT.pack(*entry)
            self._words.store(at, sequence)
            self._words.store(NEWEST, sequence << 8 | slot)
            self._sequences[slot], self._newest, self._newest_slot = sequence, sequence, slot
            self._say(self._state & ~EOS)
            return sequence

    def _array(self, array):
        """What writes a numpy array to a place among the pixels."""
        import numpy

        array, about = numpy.asarray(array), self.description
        if array.shape == about.shape[:2]:
            array = array[..., None]
        if array.shape != about.shape or array.dtype != about.dtype:
            found = (array.shape, array.dtype, about.shape, about.dtype)
            raise ValueError("%s of %s, but frames are %s of %s: see describe()" % found)

        def write(at):
            strides = (about.stride, about.item, about.sample_bytes)
            view = numpy.ndarray(about.shape, about.sample, self._pixels.memory, at, strides)
            (view if about.origin == "top-left" else view[::-1])[...] = array

        return write

    def _bytes(self, data):
        """The same of a frame's bytes."""
        data, about = memoryview(data), self.description
        if not data.contiguous or data.nbytes != about.stride * about.height:
            found = (data.nbytes, about.stride * about.height, about.height, about.stride)
            raise ValueError("%d bytes, but frames have %d: %d rows of %d, in one piece: see describe()" % found)
        data, stride, height = data.cast("B"), about.stride, about.height

        def write(at):
            pixels = self._pixels.memory
            if about.origin == "top-left":
                pixels[at : at + stride * height] = data
                return
            for row in range(height):
                start = at + (height - 1 - row) * stride
                pixels[start : start + stride] = data[row * stride : (row + 1) * stride]

        return write

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
        self._open = False
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
