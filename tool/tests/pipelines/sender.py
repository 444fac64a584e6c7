# SPDX-License-Identifier: MPL-2.0
"""Sends pictures that say when they were made: sixteen columns, black or white, are a number, the topmost column left.

    sender.py NAME WIDTH HEIGHT FPS        numbers are frames since the time that it prints, by the monotonic clock
    sender.py NAME WIDTH HEIGHT FPS alpha  the same, its upper half being half transparent
    sender.py NAME WIDTH HEIGHT FPS COUNT  lossless: numbers 0 to COUNT - 1, as fast as the reader takes them

The topmost eighth is red, the lowest blue. A line "resize WIDTH HEIGHT" changes the size in place, "end" ends it.
"""

import os
import select
import sys
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../../python"))
import tdlink  # noqa: E402

BITS = 16


def picture(number, width, height):
    column = np.arange(width) * BITS // width
    lit = (number >> (BITS - 1 - column)) & 1
    frame = np.zeros((height, width, 4), np.uint8)
    frame[..., :3] = (lit * 255)[None, :, None]
    frame[: height // 8] = (255, 0, 0, 255)
    frame[-(height // 8) :] = (0, 0, 255, 255)
    frame[..., 3] = 255
    if varying:
        frame[: height // 2, :, 3] = 128
    return frame


def lossless(name, width, height, fps, count):
    with tdlink.Writer(name, width, height, slots=4, delivery="lossless") as writer:
        print("sending", flush=True)
        while writer.clients == 0:
            writer.tend()
            time.sleep(0.005)
        for number in range(count):
            assert writer.publish(picture(number, width, height), timeout=60) is not None
        print("drained", writer.drain(60), flush=True)
        writer.end()
        sys.stdin.readline()


def live(name, width, height, fps):
    with tdlink.Writer(name, width, height, slots=4) as writer:
        began = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        print("sending", began, flush=True)
        while True:
            if select.select([sys.stdin], [], [], 0)[0]:
                words = sys.stdin.readline().split()
                if words[:1] != ["resize"]:
                    break
                width, height = int(words[1]), int(words[2])
                writer.describe(width, height)
                print("resized", flush=True)
            number = (time.clock_gettime_ns(time.CLOCK_MONOTONIC) - began) * fps // 1_000_000_000
            writer.publish(picture(number, width, height))
            due = began + (number + 1) * 1_000_000_000 // fps
            time.sleep(max(0, due - time.clock_gettime_ns(time.CLOCK_MONOTONIC)) / 1e9)
        writer.end()


name, width, height, fps = sys.argv[1], *map(int, sys.argv[2:5])
varying = sys.argv[5:] == ["alpha"]
if len(sys.argv) > 5 and not varying:
    lossless(name, width, height, fps, int(sys.argv[5]))
else:
    live(name, width, height, fps)
