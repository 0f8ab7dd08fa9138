"""Writes kernels/src/quant/grids.bin: the points that the IQ1, IQ2 and IQ3 formats choose from.

    python tools/quant/grids.py kernels/src/quant/grids.bin

Needs numpy and gguf 0.19, whose decoders know the points as numbers. For each point a u16,
little endian: two bits (three where there are eight values) per weight say which value it has,
the first weight in the lowest bits.
"""

import sys

import numpy as np
from gguf.quants import IQ1_S, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS

with open(sys.argv[1], "wb") as file:
    for kind in (IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, IQ1_S):
        kind.init_grid()
        values = np.array(kind.grid_map, dtype=np.float32)
        which = np.searchsorted(values, kind.grid.reshape(kind.grid_shape)).astype(np.uint16)
        bits = 3 if len(values) == 8 else 2
        shifts = np.arange(kind.grid_shape[1], dtype=np.uint16) * bits
        file.write((which << shifts).sum(axis=1).astype("<u2").tobytes())
