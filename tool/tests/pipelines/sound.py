# SPDX-License-Identifier: MPL-2.0
"""A world with a flash and a beep in the first tenth of each second of the monotonic clock.

    sound.py NAME device FIFO PPM   the beep is heard by a device that takes 48000 * (1 + PPM / 1000000) samples a second
    sound.py NAME system            the beep is played by PulseAudio's default output

The flash is a white picture of the buffer NAME. A line on its standard input ends it.
"""

import fcntl
import os
import select
import subprocess
import sys
import threading
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../../python"))
import tdlink  # noqa: E402

SECOND = 1_000_000_000
TENTH = SECOND // 10
CHUNK = 240
WIDTH, HEIGHT, FPS = 320, 180, 60


def now():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def wait(due):
    time.sleep(max(0, due - now()) / SECOND)


def hear(out, ppm, done):
    """Writes the sound of the world to a pipe, each sample when it is over."""
    rate = 48000 * (1 + ppm / 1_000_000)
    began, sample = now(), 0
    while not done.is_set():
        at = (began % SECOND) / SECOND + (sample + np.arange(CHUNK)) / rate
        tone = np.where(at % 1 < 0.1, 20000 * np.sin(2 * np.pi * 1000 * (at % 1)), 0)
        sample += CHUNK
        wait(began + int(sample * SECOND / rate))
        try:
            os.write(out, np.repeat(tone.astype("<i2"), 2).tobytes())
        except BlockingIOError:
            pass  # nobody listens yet


def show(name):
    black = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    black[..., 3] = 255
    white = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
    with tdlink.Writer(name, WIDTH, HEIGHT, slots=4) as writer:
        print("sending", flush=True)
        while not select.select([sys.stdin], [], [], 0)[0]:
            wait((now() * FPS // SECOND + 1) * SECOND // FPS)
            writer.publish(white if now() % SECOND < TENTH else black)
        writer.end()


name, what = sys.argv[1:3]
done = threading.Event()
if what == "device":
    out, ppm = os.open(sys.argv[3], os.O_WRONLY | os.O_NONBLOCK), float(sys.argv[4])
else:
    player = subprocess.Popen(
        ["pacat", "--playback", "--raw", "--rate=48000", "--latency-msec=10", "--process-time-msec=5"],
        stdin=subprocess.PIPE,
    )
    out, ppm = player.stdin.fileno(), 0
os.set_blocking(out, False)
fcntl.fcntl(out, 1031, 4096)  # F_SETPIPE_SZ: 20 ms wait, more are lost
thread = threading.Thread(target=hear, args=(out, ppm, done))
thread.start()
try:
    show(name)
finally:
    done.set()
    thread.join()
    if what == "system":
        player.kill()
        player.wait()
