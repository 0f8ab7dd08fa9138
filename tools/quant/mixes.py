"""Writes tests/data/mixes.txt: which types llama-quantize gives to which tensors.

    python tools/quant/mixes.py path/to/llama-quantize tests/data/mixes.txt

Needs numpy and gguf 0.19, and llama.cpp's llama-quantize. Each case is a model of sixteen tiny
layers; a line says, for one case, mix and part of a layer, the type of that part in each layer.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
from gguf import GGUFReader, GGUFWriter

MIXES = (
    "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K "
    "IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4_MOE F16"
).split()
LAYERS, WIDTH = 16, 256

# Name: architecture, heads, heads of keys and values, experts, hidden width, whether untied.
CASES = {
    "grouped": ("llama", 4, 1, 0, 512, True),
    "single": ("llama", 4, 4, 0, 512, True),
    "tied": ("llama", 4, 2, 0, 512, False),
    "experts": ("llama", 4, 2, 8, 256, True),
    "narrow": ("llama", 4, 4, 0, 288, True),
    "odd": ("llama", 4, 4, 0, 40, True),
    "falcon": ("falcon", 4, 1, 0, 512, True),
}


def write(path, architecture, heads, kv_heads, experts, hidden, untied):
    random = np.random.default_rng(1)
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_layer_norm_eps(1e-5)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(64)

    def tensor(name, *shape):
        values = random.normal(size=shape).astype(np.float32)
        writer.add_tensor(name, values)

    kv = WIDTH // heads * kv_heads
    tensor("token_embd.weight", 64, WIDTH)
    tensor("output_norm.weight", WIDTH)
    if untied:
        tensor("output.weight", 64, WIDTH)
    for i in range(LAYERS):
        blk = f"blk.{i}"
        tensor(f"{blk}.attn_norm.weight", WIDTH)
        if architecture == "falcon":
            tensor(f"{blk}.attn_norm.bias", WIDTH)
            tensor(f"{blk}.attn_qkv.weight", WIDTH + 2 * kv, WIDTH)
        else:
            tensor(f"{blk}.attn_q.weight", WIDTH, WIDTH)
            tensor(f"{blk}.attn_k.weight", kv, WIDTH)
            tensor(f"{blk}.attn_v.weight", kv, WIDTH)
            tensor(f"{blk}.ffn_norm.weight", WIDTH)
        tensor(f"{blk}.attn_output.weight", WIDTH, WIDTH)
        if experts:
            tensor(f"{blk}.ffn_gate_inp.weight", experts, WIDTH)
            tensor(f"{blk}.ffn_gate_exps.weight", experts, hidden, WIDTH)
            tensor(f"{blk}.ffn_up_exps.weight", experts, hidden, WIDTH)
            tensor(f"{blk}.ffn_down_exps.weight", experts, WIDTH, hidden)
        else:
            if architecture != "falcon":
                tensor(f"{blk}.ffn_gate.weight", hidden, WIDTH)
            tensor(f"{blk}.ffn_up.weight", hidden, WIDTH)
            tensor(f"{blk}.ffn_down.weight", WIDTH, hidden)
    if architecture == "falcon":
        tensor("output_norm.bias", WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main(quantize, out):
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "source.gguf"), Path(folder, "result.gguf")
        for case, shape in CASES.items():
            write(source, *shape)
            for mix in MIXES:
                subprocess.run([quantize, source, result, mix, "2"], check=True, capture_output=True)
                parts = {}
                for tensor in GGUFReader(result).tensors:
                    name = tensor.name.split(".")
                    part = ".".join(name[2:]) if name[0] == "blk" else tensor.name
                    if "norm" in part:
                        continue
                    layer = int(name[1]) if name[0] == "blk" else 0
                    parts.setdefault(part, {})[layer] = tensor.tensor_type.name
                for part, types in sorted(parts.items()):
                    types = [types[layer] for layer in sorted(types)]
                    same = all(kind == types[0] for kind in types)
                    types = f"all {types[0]}" if same else " ".join(types)
                    lines.append(f"{case} {mix} {part} {types}")
    Path(out).write_text("\n".join(lines) + "\n")


main(sys.argv[1], sys.argv[2])
