"""Writes tests/data/dequantize.bin: random blocks and what the gguf package decodes them to.

    python tools/quant/make.py tests/data/dequantize.bin

Needs numpy and gguf 0.19, which does not decode Q1_0 and Q2_0: their arithmetic is that of
llama.cpp's dequantize_row_q1_0 and dequantize_row_q2_0, written here. Entries follow each other, little endian: type id (u32), bytes of
blocks (u32), the blocks, and one f32 per element. The same seed gives the same file.
"""

import struct
import sys

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as Type
from gguf.quants import dequantize

FLOATS = {Type.F16: 512, Type.BF16: 512}
SMALL = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "MXFP4", "NVFP4"]
LARGE = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "TQ1_0", "TQ2_0"]
POINTS = ["IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M"]
BLOCKS = FLOATS | {Type[n]: 24 for n in SMALL} | {Type[n]: 10 for n in LARGE + POINTS}
# GGUF's numbers for types that gguf 0.19 does not decode.
Q1_0, Q2_0 = 41, 42
# Where each block keeps half-precision scales.
SCALES = {
    Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2],
    Type.IQ4_NL: [0], Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2],
    Type.Q5_K: [0, 2], Type.Q6_K: [208], Type.IQ4_XS: [0], Type.TQ1_0: [52], Type.TQ2_0: [64],
    Type.IQ2_XXS: [0], Type.IQ2_XS: [0], Type.IQ2_S: [0], Type.IQ3_XXS: [0], Type.IQ3_S: [0],
    Type.IQ1_S: [0],
}
# Zeros, subnormals, the largest, ordinary ones; both signs.
HALVES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0xFBFF, 0x0400, 0x3C00, 0xBC01]


def blocks(kind, count, random):
    _, size = GGML_QUANT_SIZES[kind]
    data = random.integers(0, 256, (count, size), dtype=np.uint8)
    for at in SCALES.get(kind, []):
        for row in range(count):
            if row < len(HALVES):
                half = HALVES[(row + at) % len(HALVES)]
            else:
                half = int(random.integers(0, 0x7C00)) | int(random.integers(0, 2)) << 15
            data[row, at : at + 2] = half & 255, half >> 8
    if kind == Type.IQ1_M:
        # Its scale's four parts are the top bits of four numbers: no exponent of ones.
        data[:, 55] &= 0xBF
    if kind in FLOATS:
        values = data.view("<u2")
        infinity = 0x7C00 if kind == Type.F16 else 0x7F80
        # NaNs have many bit patterns, and nobody promises which one comes out.
        values[(values & infinity) == infinity] = infinity
    return data


def scaled(count, random):
    """Blocks of a half-precision scale and sixteen bytes."""
    data = random.integers(0, 256, (count, 18), dtype=np.uint8)
    # No exponent of ones, which would be infinite or no number.
    data[:, 1] &= 0xBF
    for row, half in enumerate(HALVES):
        data[row, :2] = half & 255, half >> 8
    return data, data[:, :2].copy().view("<f2").astype(np.float32)


def q1_0(count, random):
    """128 signs, from the lowest bit up: a scale where a bit is set, else its negative."""
    data, scales = scaled(count, random)
    bits = np.unpackbits(data[:, 2:], axis=1, bitorder="little")
    return data, np.where(bits == 1, scales, -scales)


def q2_0(count, random):
    """64 quants of two bits, from the lowest bits up."""
    data, scales = scaled(count, random)
    quants = (data[:, 2:, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3
    quants = quants.reshape(count, 64).astype(np.int32) - 1
    return data, quants.astype(np.float32) * scales


def main(path):
    random = np.random.default_rng(20)
    with open(path, "wb") as file:

        def write(kind, data, values):
            file.write(struct.pack("<II", int(kind), data.nbytes))
            file.write(data.tobytes())
            file.write(values.astype("<f4").tobytes())

        for kind, count in BLOCKS.items():
            data = blocks(kind, count, random)
            with np.errstate(over="ignore"):
                write(kind, data, dequantize(data, kind))
        write(Q2_0, *q2_0(24, random))
        write(Q1_0, *q1_0(24, random))


main(sys.argv[1])
