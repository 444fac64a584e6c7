#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Stands in for TouchDesigner: sends pictures through a shared memory buffer.

This is what the Shared Memory LOP does in mode "Send (Create)", done with the same Python class that it uses:

    Buffer Name   --name        (any name; the receiver must use the same)
    Width         --width
    Height        --height
    Channels      4             (RGBA, 8 bits each)

The buffer is Width x Height x Channels bytes and nothing else. As in TouchDesigner, row 0 is the LOWEST row of the
picture. To see it in a window:

    gst-launch-1.0 tdshmsrc shm-name=NAME width=1280 height=720 channels=4 ! videoconvert ! autovideosink

Stop it with Ctrl-C. Needs numpy and nothing else.
"""

import argparse
import signal
import sys
import time
from multiprocessing import shared_memory

import numpy as np

# 5 x 7 dots for each digit, one number per dot row.
DIGITS = [
    (14, 17, 19, 21, 25, 17, 14), (4, 12, 4, 4, 4, 4, 14), (14, 17, 1, 2, 4, 8, 31), (31, 2, 4, 2, 1, 17, 14),
    (2, 6, 10, 18, 31, 2, 2), (31, 16, 30, 1, 1, 17, 14), (6, 8, 16, 30, 17, 17, 14), (31, 1, 2, 4, 8, 8, 8),
    (14, 17, 17, 14, 17, 17, 14), (14, 17, 17, 15, 1, 2, 12),
]
RED, GREEN, BLUE, YELLOW = (220, 30, 30, 255), (30, 200, 30, 255), (30, 60, 220, 255), (240, 220, 30, 255)
WHITE, BLACK = (255, 255, 255, 255), (0, 0, 0, 255)
CELLS = 24


def cells(number):
    """The frame number as CELLS black and white blocks that a program can read back, even out of a video:
    white, black, 16 bits (highest first), 4 bits of check, black, white."""
    number &= 0xFFFF
    nibbles = [(number >> shift) & 15 for shift in (12, 8, 4, 0)]
    check = nibbles[0] ^ nibbles[1] ^ nibbles[2] ^ nibbles[3] ^ 0b1010
    bits = [(number >> bit) & 1 for bit in range(15, -1, -1)] + [(check >> bit) & 1 for bit in range(3, -1, -1)]
    return [1, 0] + bits + [0, 1]


class Picture:
    """Draws upright (row 0 on top), in memory of its own: whoever looks into the buffer sees whole frames only."""

    def __init__(self, width, height):
        self.width, self.height = width, height
        self.frame = np.empty((height, width, 4), np.uint8)
        # A gradient that is twice as wide as the picture and repeats, so that a window can slide over it.
        x = np.arange(2 * width) * (2 * np.pi / width)
        y = np.linspace(0, 1, height)[:, None]
        self.scenery = np.empty((height, 2 * width, 4), np.uint8)
        for channel, phase in enumerate((0.0, 2.1, 4.2)):
            self.scenery[..., channel] = (70 + 50 * np.sin(x + phase)) * (1.1 - 0.6 * y) + 25 * y
        self.scenery[..., 3] = 255
        # The ball: which pixels of its square belong to it.
        self.radius = max(2, height // 12)
        r = np.arange(-self.radius, self.radius + 1)
        self.ball = (r[:, None] ** 2 + r[None, :] ** 2 <= self.radius ** 2)[..., None]

    def draw(self, number):
        width, height, frame = self.width, self.height, self.frame
        left = (number * 4) % width
        frame[:] = self.scenery[:, left:left + width]
        self.draw_ball(number)
        self.draw_number(number)
        # The corners tell a picture that stands upright from one that is flipped, mirrored, or has red and blue mixed up.
        side, bar = max(1, height // 8), max(1, height // 16)
        frame[:side, :side], frame[:side, -side:] = RED, GREEN
        frame[-side:, :side], frame[-side:, -side:] = BLUE, YELLOW
        # The number for programs, above and below: two different ones in one frame mean that the frame was torn.
        edges = [side + i * (width - 2 * side) // CELLS for i in range(CELLS + 1)]
        for i, white in enumerate(cells(number)):
            frame[:bar, edges[i]:edges[i + 1]] = WHITE if white else BLACK
            frame[-bar:, edges[i]:edges[i + 1]] = WHITE if white else BLACK
        return frame

    def draw_ball(self, number):
        size = 2 * self.radius + 1
        edge = self.height // 8
        room_x, room_y = self.width - size, self.height - size - 2 * edge
        if room_x <= 0 or room_y <= 0:
            return
        x = abs((number * 7) % (2 * room_x) - room_x)
        y = edge + room_y - int(room_y * abs(np.sin(number / 25)))
        place = self.frame[y:y + size, x:x + size]
        np.copyto(place, np.uint8((255, 250, 240, 255)), where=self.ball)

    def draw_number(self, number):
        text = str(number)
        dot = max(1, min(self.height // 24, self.width // (6 * max(5, len(text)) + 8)))
        x = (self.width - dot * (6 * len(text) - 1)) // 2
        y = (self.height - dot * 7) // 2
        for digit in text:
            for row, dots in enumerate(DIGITS[int(digit)]):
                for column in range(5):
                    if dots & (16 >> column):
                        top, start = y + row * dot, x + column * dot
                        self.frame[top:top + dot, start:start + dot] = WHITE
            x += 6 * dot


def create(name, size):
    """The buffer. One that is left over from a crash is taken over if it has the right size, as the LOP does."""
    try:
        return shared_memory.SharedMemory(name=name, create=True, size=size)
    except FileExistsError:
        buffer = shared_memory.SharedMemory(name=name)
    if buffer.size == size:
        return buffer
    print(f"the buffer {name!r} exists with {buffer.size} bytes, not {size}: making it anew", flush=True)
    buffer.close()
    buffer.unlink()
    return shared_memory.SharedMemory(name=name, create=True, size=size)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--name", default="touchdesigner", help="buffer name (default: %(default)s)")
    options.add_argument("--width", type=int, default=1280)
    options.add_argument("--height", type=int, default=720)
    options.add_argument("--fps", type=float, default=60.0)
    options.add_argument("--seconds", type=float, default=0.0, help="stop after this long (default: never)")
    options = options.parse_args()
    if options.width < 1 or options.height < 1 or options.fps <= 0:
        sys.exit("width, height and fps must be positive")

    running = True

    def stop(_signal, _stack):
        nonlocal running
        running = False

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)

    picture = Picture(options.width, options.height)
    buffer = create(options.name, options.width * options.height * 4)
    try:
        # numpy's view of the buffer: height x width x channels, row 0 being the lowest row of the picture.
        pixels = np.ndarray((options.height, options.width, 4), np.uint8, buffer=buffer.buf)
        print(f"sending {options.width}x{options.height} RGBA at {options.fps:g} fps as {options.name!r}", flush=True)
        begin = due = time.monotonic()
        number = late = 0
        while running and (options.seconds <= 0 or time.monotonic() - begin < options.seconds):
            frame = picture.draw(number)
            time.sleep(max(0.0, due - time.monotonic()))
            pixels[:] = frame[::-1]  # one copy, and the flip from "row 0 on top" to "row 0 at the bottom" in it
            number += 1
            due += 1 / options.fps
            if time.monotonic() > due:  # too slow for this rate: go on from here, do not hurry to catch up
                due = time.monotonic()
                late += 1
        seconds = time.monotonic() - begin
        print(f"sent {number} frames in {seconds:.2f} s, {number / seconds:.1f} per second, {late} of them late", flush=True)
        del pixels
    finally:
        buffer.close()
        try:
            buffer.unlink()
        except FileNotFoundError:
            pass  # somebody else has removed it: Python readers up to 3.12 do that when they end


if __name__ == "__main__":
    main()
