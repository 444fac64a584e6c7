# SPDX-License-Identifier: MPL-2.0
"""The Script TOPs of examples/touchdesigner in the hands of a stand-in for TouchDesigner: one command a line.

send NAME SEED W H            cooks the sender over a picture of these; `sent`
receive NAME W H C            cooks the receiver; the bytes that it shows, in hexadecimal digits, or `nothing`
end                           destroys both
"""

import importlib.util
import os
import types

import numpy as np

import segments


def script(name):
    folder = os.path.join(os.path.dirname(__file__), "..", "..", "examples", "touchdesigner")
    spec = importlib.util.spec_from_file_location(name, os.path.join(folder, name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Page:
    def __init__(self, par):
        self.par = par

    def append(self, name, **_):
        value = types.SimpleNamespace(default=None)
        value.eval = lambda: value.default
        setattr(self.par, name, value)
        return [value]

    appendStr = appendInt = append


class ScriptOp:
    """As much of TouchDesigner's scriptTOP as its documentation promises."""

    def __init__(self, module, inputs):
        self.par, self.inputs, self.shown = types.SimpleNamespace(), inputs, None
        module.onSetupParameters(self)

    def appendCustomPage(self, _name):
        return Page(self.par)

    def copyNumpyArray(self, array):
        assert array.dtype == np.uint8 and array.flags.c_contiguous and array.ndim == 3
        self.shown = array


class Input:
    def numpyArray(self):
        return self.picture


source = Input()
sending, receiving = script("script_top_sender"), script("script_top_receiver")
sender, receiver = ScriptOp(sending, [source]), ScriptOp(receiving, [])


def send(name, seed, width, height):
    dice = np.random.default_rng(int(seed))
    source.picture = dice.random((int(height), int(width), 4), np.float32)
    sender.par.Buffername.default = name
    sending.onCook(sender)
    return sender.shown.tobytes().hex()


def receive(name, width, height, channels):
    for parameter, value in (("Buffername", name), ("Width", width), ("Height", height), ("Channels", channels)):
        receiver.par.__dict__[parameter].default = value if parameter == "Buffername" else int(value)
    receiver.shown = None
    receiving.onCook(receiver)
    return "nothing" if receiver.shown is None else receiver.shown.tobytes().hex()


def end():
    sending.onDestroy()
    receiving.onDestroy()
    return "ended"


if __name__ == "__main__":
    segments.serve({"send": send, "receive": receive, "end": end})
