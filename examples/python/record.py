#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Records a shared buffer to an mp4 file, from a Python program: what `tdlink record` does, in its simplest form.

    python3 record.py cam1 cam1.mp4 --seconds 10

For a buffer of TouchDesigner's Shared Memory LOP add --width, --height and --channels. Needs PyGObject and GStreamer
(Debian: python3-gst-1.0), with this plugin where GStreamer finds it.
"""

import argparse
import sys


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("name")
    options.add_argument("file")
    options.add_argument("--seconds", type=float, default=10.0)
    for side in ("width", "height", "channels"):
        options.add_argument("--" + side, type=int, default=0)
    options = options.parse_args()

    import gi

    gi.require_version("Gst", "1.0")
    from gi.repository import Gst

    Gst.init(None)
    pipeline = Gst.parse_launch(
        "tdshmsrc name=source framerate=60/1 on-disconnect=eos ! queue ! videoconvert ! "
        "video/x-raw,format=I420,colorimetry=bt709 ! x264enc speed-preset=veryfast bitrate=12000 key-int-max=60 ! "
        "h264parse ! mp4mux fragment-duration=1000 streamable=true ! filesink name=sink"
    )
    source = pipeline.get_by_name("source")
    source.set_property("shm-name", options.name)
    for side in ("width", "height", "channels"):
        source.set_property(side, getattr(options, side))
    pipeline.get_by_name("sink").set_property("location", options.file)
    pipeline.set_state(Gst.State.PLAYING)
    bus, ends = pipeline.get_bus(), Gst.MessageType.EOS | Gst.MessageType.ERROR
    try:
        message = bus.timed_pop_filtered(int(options.seconds * Gst.SECOND), ends)
        if message is None:
            pipeline.send_event(Gst.Event.new_eos())  # the file is closed when its end has come through
            message = bus.timed_pop_filtered(20 * Gst.SECOND, ends)
        if message is not None and message.type == Gst.MessageType.ERROR:
            sys.exit("error: %s" % message.parse_error()[0].message)
        print(source.get_property("stats").to_string())
    finally:
        pipeline.set_state(Gst.State.NULL)


if __name__ == "__main__":
    main()
