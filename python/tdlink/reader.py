# SPDX-License-Identifier: MPL-2.0
"""The end that reads."""

import collections
import os
import sys
import threading
import time

from ._wire import (
    ACTIVE, CLAIM, CLOSED, Description, EDITION, EOS, EndOfStream, FREED, GRANT, HEADER_BYTES, LEASE, LOW, MAGIC,
    NEWEST, NONE, PID, PRODUCER_WAITING, ProducerGone, ProtocolError, SINCE, SLICE, SLOT, STATE, SUPERSEDED, TAKEN,
    TdlinkError, WAITING, WAKE, WRITING, _Header, _sound,
)
from ._words import _FENCE, _fence, _order
from ._linux import _generation, _leads_to, _path
from ._ends import _Control, _End, _check


class Frame:
    """One frame. `array`: numpy's (height, width, channels), row 0 on top, read-only if `leased`; it keeps the slot, too.
    `rows`: the bytes without numpy, `stride` of them a row, rows as they lie there (`description.origin`); of a leased
    frame they are good as long as the frame is. Times in ns (`published` by `clock_ns()`), None where none was said."""

    def __init__(self, rows, sequence, entry, description, lease):
        self.rows, self.sequence, self.description, self._lease = rows, sequence, description, lease
        pts, duration, self.published, _, self.stride, self.flags, offset = entry
        self.pts, self.duration, self.offset = (None if value == NONE else value for value in (pts, duration, offset))
        self.leased, self.size = lease is not None, (description.width, description.height)

    @property
    def array(self):
        import numpy

        about = self.description
        strides = (self.stride, about.item, about.sample_bytes)
        view = numpy.ndarray(about.shape, about.sample, self.rows, 0, strides)
        view = self._lease.show(view) if self._lease else view
        return view if about.origin == "top-left" else view[::-1]

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
        import numpy

        return numpy.asarray(_Shown(self, view))

    def release(self):
        link, self._link = self._link, None
        if link:
            link.give_back(*self._held)

    __del__ = release


class _Shown:
    """The base of an array: it goes with the last view of that array, and with it one reference to the lease."""

    def __init__(self, lease, view):
        self._lease, self._view, self.__array_interface__ = lease, view, view.__array_interface__


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
        link, description, lease, rows = self._link, self.description, None, None
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
            rows = memoryview(self._pixels)[at : at + stride * description.height]
            rows = rows.toreadonly() if lease else bytearray(rows)
        _order()
        if not lease and link.sequence(slot) != sequence:
            self.torn += 1  # what was read meanwhile is nobody's word
            return None
        _sound(fits, "a frame of %d bytes with rows of %d" % (payload, stride))
        self.skipped += sequence - self._last - 1 if self._begun else 0
        self._begun, self._last = True, sequence
        link.took(sequence)
        return Frame(rows, sequence, entry, description, lease)

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
