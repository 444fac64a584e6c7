# SPDX-License-Identifier: MPL-2.0
"""Compiles CUDA C to PTX with the NVRTC library that is named: what `cargo xtask ptx` runs. Needs no GPU.

    compile.py LIBNVRTC SOURCE PTX
"""

import ctypes
import pathlib
import sys

# Runs on every GPU since Maxwell, by the driver's own compiler.
OPTIONS = [b"--gpu-architecture=compute_50", b"--std=c++03"]


def compile_to_ptx(nvrtc, name, source):
    def check(what, code):
        if code != 0:
            text = ctypes.cast(nvrtc.nvrtcGetErrorString(code), ctypes.c_char_p).value
            raise SystemExit(f"{what}: {text.decode()}\n{log() if what == 'nvrtcCompileProgram' else ''}")

    def log():
        size = ctypes.c_size_t()
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, text)
        return text.value.decode()

    nvrtc.nvrtcGetErrorString.restype = ctypes.c_void_p
    program = ctypes.c_void_p()
    check("nvrtcCreateProgram", nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, name, 0, None, None))
    options = (ctypes.c_char_p * len(OPTIONS))(*OPTIONS)
    check("nvrtcCompileProgram", nvrtc.nvrtcCompileProgram(program, len(OPTIONS), options))
    size = ctypes.c_size_t()
    check("nvrtcGetPTXSize", nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size)))
    ptx = ctypes.create_string_buffer(size.value)
    check("nvrtcGetPTX", nvrtc.nvrtcGetPTX(program, ptx))
    return ptx.value


def main():
    library, source, ptx = sys.argv[1:]
    source = pathlib.Path(source)
    compiled = compile_to_ptx(ctypes.CDLL(library), source.name.encode(), source.read_bytes())
    pathlib.Path(ptx).write_bytes(compiled)


main()
