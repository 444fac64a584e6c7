#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""cuda-link's frames from TouchDesigner into PyTorch and back, and recorded at the same time; pixels stay on the card.

    python3 gpu_model.py --record td.mp4

TouchDesigner's sender is `cudalink_ipc_TD>>Python`, its receiver `cudalink_ipc_Python>>TD`: cuda-link's own names. Needs an
NVIDIA card, PyTorch with CUDA, PyGObject, GStreamer 1.22 or newer with nvcodec, and the package `tdlink`. NOT RUN by this
project's tests, which have neither a card nor PyTorch: they run `tdlink.gst`, on which it stands, on an emulated driver.
"""

import argparse


def model(picture):
    """Stands in for yours: a tensor (height, width, 4) of uint8 on the card, row 0 on top. This one is a negative."""
    result = picture.clone()
    result[..., :3] = 255 - picture[..., :3]
    return result


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--source", default="cudalink_ipc_TD>>Python")
    options.add_argument("--target", default="cudalink_ipc_Python>>TD")
    options.add_argument("--record", metavar="FILE", help="record what goes back as H.264, too")
    options = options.parse_args()

    import torch

    import tdlink.gst
    from gi.repository import Gst

    Gst.init(None)
    device = "video/x-raw(memory:CUDAMemory),format=RGBA"
    reading = Gst.parse_launch("tdcudaipcsrc name=end ! %s ! appsink name=app max-buffers=1 drop=true sync=false" % device)
    # In fragments, so that a file whose recorder is killed can be played to its last second.
    file = "t. ! queue ! nvh264enc ! h264parse ! mp4mux fragment-duration=1000 streamable=true ! filesink name=file"
    writing = Gst.parse_launch("appsrc name=app format=time is-live=true do-timestamp=true ! tee name=t ! queue ! "
                               "tdcudaipcsink name=end sync=false %s" % (file if options.record else ""))  # fmt: skip
    reading.get_by_name("end").set_property("shm-name", options.source)
    writing.get_by_name("end").set_property("shm-name", options.target)
    if options.record:
        writing.get_by_name("file").set_property("location", options.record)
    pipelines = {"reading": reading, "writing": writing}
    for pipeline in pipelines.values():
        tdlink.gst.use_primary_context(pipeline)  # PyTorch's
        pipeline.set_state(Gst.State.PLAYING)
    sink, source, caps = reading.get_by_name("app"), writing.get_by_name("app"), None
    ends = Gst.MessageType.ERROR | Gst.MessageType.EOS
    try:
        while True:
            # Errors are told on a pipeline's bus, while nothing comes out of it any more.
            for which, pipeline in pipelines.items():
                message = pipeline.get_bus().pop_filtered(ends)
                if message is not None and message.type == Gst.MessageType.ERROR:
                    raise SystemExit("%s: %s" % (which, message.parse_error()[0].message))
            sample = sink.emit("try-pull-sample", 200 * Gst.MSECOND)
            if sample is None:
                if sink.get_property("eos"):
                    break
                continue
            if caps is None or not caps.is_equal(sample.get_caps()):
                caps = sample.get_caps()
                source.set_property("caps", caps)
            picture = torch.as_tensor(tdlink.gst.cuda_array(sample), device="cuda")
            result = model(picture).contiguous()
            torch.cuda.current_stream().synchronize()
            if source.emit("push-buffer", tdlink.gst.cuda_buffer(result, caps)) != Gst.FlowReturn.OK:
                continue  # the bus says why
    except KeyboardInterrupt:
        pass
    finally:
        # However it ends, the file is closed when its end has come through.
        reading.set_state(Gst.State.NULL)
        source.emit("end-of-stream")
        writing.get_bus().timed_pop_filtered(10 * Gst.SECOND, ends)
        writing.set_state(Gst.State.NULL)


if __name__ == "__main__":
    main()
