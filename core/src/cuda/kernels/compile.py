# SPDX-License-Identifier: MPL-2.0
"""Compiles CUDA C to PTX with the NVRTC library that is named: what `cargo xtask ptx` runs. Needs no GPU.

    compile.py LIBNVRTC SOURCE PTX

Files *.cuh beside the source can be included.
"""

import ctypes
import pathlib
import sys

# Runs on every GPU since Maxwell, by the driver's own compiler. Products and sums stay two operations, as on the
# processor.
OPTIONS = [b"--gpu-architecture=compute_50", b"--std=c++03", b"--fmad=false"]


def compile_to_ptx(nvrtc, name, source, headers):
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
    texts = (ctypes.c_char_p * len(headers))(*headers.values())
    names = (ctypes.c_char_p * len(headers))(*headers.keys())
    made = nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, name, len(headers), texts, names)
    check("nvrtcCreateProgram", made)
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
    headers = {header.name.encode(): header.read_bytes() for header in sorted(source.parent.glob("*.cuh"))}
    compiled = compile_to_ptx(ctypes.CDLL(library), source.name.encode(), source.read_bytes(), headers)
    pathlib.Path(ptx).write_bytes(compiled)


main()
