"""Writes tests/data/small_floats.safetensors: FP8 and MXFP4 as checkpoints hold them, and what torch
and transformers make of them.

    python tools/quant/small_floats.py tests/data/small_floats.safetensors

Needs torch, safetensors and transformers 5.24. The same seed gives the same file.

- `e4m3`, `e5m2`: the float of each of 256 bytes;
- `blocks.weight`, `blocks.weight_scale_inv`, `blocks.expected`: FP8 with a scale for each block;
- `ragged.*`: the same where the last blocks are cut off, whose arithmetic is that of DeepSeek's
  fp8_cast_bf16.py (transformers' form wants whole blocks);
- `mxfp4_blocks`, `mxfp4_scales`, `mxfp4.expected`: a stack of two matrices.
"""

import sys

import torch
from safetensors.torch import save_file
from transformers.integrations.finegrained_fp8 import Fp8Dequantize
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

torch.manual_seed(7)
BYTES = torch.arange(256, dtype=torch.uint8)
tensors = {
    "e4m3": BYTES.view(torch.float8_e4m3fn).float(),
    "e5m2": BYTES.view(torch.float8_e5m2).float(),
}


def fp8(rows, columns, grid):
    weight = (torch.randn(rows, columns) * 100).to(torch.float8_e4m3fn)
    return weight, torch.rand(*grid) * 0.01 + 0.001


weight, scale = fp8(64, 36, (4, 3))
expected = Fp8Dequantize(None)._dequantize_one(weight, scale, torch.float32)
tensors |= {"blocks.weight": weight, "blocks.weight_scale_inv": scale, "blocks.expected": expected}

weight, scale = fp8(70, 20, (5, 2))
spread = scale.repeat_interleave(16, 0)[:70].repeat_interleave(16, 1)[:, :20]
tensors |= {"ragged.weight": weight, "ragged.weight_scale_inv": scale}
tensors["ragged.expected"] = weight.float() * spread

blocks = torch.randint(0, 256, (2, 6, 2, 16), dtype=torch.uint8)
scales = torch.randint(117, 130, (2, 6, 2), dtype=torch.uint8)
expected = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
# What it returns is turned, as its model multiplies; blocks lie in rows of results.
expected = expected.transpose(1, 2)
tensors |= {"mxfp4_blocks": blocks, "mxfp4_scales": scales, "mxfp4.expected": expected}

save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, sys.argv[1])
