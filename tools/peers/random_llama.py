"""Writes a LLaMA-shaped GGUF file with random weights, to compare engines on.

The defaults are LLaMA 3.2 1B's shape in float16 with tied embeddings, with the frequency
divisors of its rotary scaling as converted files carry them, and without a vocabulary: 2.3 GiB,
reproducible from the seed. Needs numpy and the public `gguf` package.

    python random_llama.py model.gguf
    llama-quantize model.gguf model-q4km.gguf Q4_K_M
"""

import argparse
import math
import zlib

import gguf
import numpy as np


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path")
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=8192)
    parser.add_argument("--vocabulary", type=int, default=128256)
    parser.add_argument("--context", type=int, default=131072)
    parser.add_argument("--experts", type=int, default=0)
    parser.add_argument("--experts-used", type=int, default=2)
    parser.add_argument("--split-experts", action="store_true", help="one tensor per expert")
    parser.add_argument("--rope-factor", type=float, default=32.0, help="1 for none")
    parser.add_argument("--untied", action="store_true")
    parser.add_argument("--biases", action="store_true", help="on q, k, v and the output")
    parser.add_argument("--std", type=float, default=0.03)
    parser.add_argument("--type", choices=["f32", "f16"], default="f16")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def rope_divisors(head_dim, factor, base=500000.0, low=1.0, high=4.0, original=8192):
    """What LLaMA 3.1's scaling divides each frequency by."""
    divisors = []
    for i in range(0, head_dim, 2):
        wave = 2 * math.pi * base ** (i / head_dim)
        if wave < original / high:
            divisors.append(1.0)
        elif wave > original / low:
            divisors.append(factor)
        else:
            smooth = (original / wave - low) / (high - low)
            divisors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(divisors, dtype=np.float32)


def tensors(a):
    """(name, shape, kind) of every tensor; the kind says how its values are drawn."""
    d, q, kv = a.width, a.heads * a.head_dim, a.kv_heads * a.head_dim
    yield "token_embd.weight", (a.vocabulary, d), "matrix"
    if a.rope_factor != 1.0:
        yield "rope_freqs.weight", (a.head_dim // 2,), "divisors"
    for i in range(a.layers):
        blk = f"blk.{i}"
        yield f"{blk}.attn_norm.weight", (d,), "norm"
        for name, out, into in [("q", q, d), ("k", kv, d), ("v", kv, d), ("output", d, q)]:
            yield f"{blk}.attn_{name}.weight", (out, into), "matrix"
            if a.biases:
                yield f"{blk}.attn_{name}.bias", (out,), "bias"
        yield f"{blk}.ffn_norm.weight", (d,), "norm"
        ffn = [("gate", a.hidden, d), ("up", a.hidden, d), ("down", d, a.hidden)]
        if a.experts:
            yield f"{blk}.ffn_gate_inp.weight", (a.experts, d), "router"
        for name, out, into in ffn:
            if a.experts and a.split_experts:
                for e in range(a.experts):
                    yield f"{blk}.ffn_{name}.{e}.weight", (out, into), "matrix"
            elif a.experts:
                yield f"{blk}.ffn_{name}_exps.weight", (a.experts, out, into), "matrix"
            else:
                yield f"{blk}.ffn_{name}.weight", (out, into), "matrix"
    yield "output_norm.weight", (d,), "norm"
    if a.untied:
        yield "output.weight", (a.vocabulary, d), "matrix"


def values(a, name, shape, kind):
    """Each tensor has its own generator, so that its values do not depend on the others."""
    if kind == "divisors":
        return rope_divisors(a.head_dim, a.rope_factor)
    random = np.random.default_rng([a.seed, zlib.crc32(name.encode())])
    normal = random.standard_normal(shape, dtype=np.float32)
    if kind == "norm":
        return 1 + np.float32(0.1) * normal
    if kind == "bias":
        return np.float32(0.2) * normal
    scaled = np.float32(a.std) * normal
    # Routers stay float32, as converters keep them.
    return scaled.astype(np.float16) if a.type == "f16" and kind == "matrix" else scaled


def main():
    a = arguments()
    writer = gguf.GGUFWriter(a.path, "llama")
    writer.add_block_count(a.layers)
    writer.add_context_length(a.context)
    writer.add_embedding_length(a.width)
    writer.add_feed_forward_length(a.hidden)
    writer.add_head_count(a.heads)
    writer.add_head_count_kv(a.kv_heads)
    writer.add_key_length(a.head_dim)
    writer.add_value_length(a.head_dim)
    writer.add_rope_dimension_count(a.head_dim)
    writer.add_rope_freq_base(500000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(a.vocabulary)
    writer.add_tokenizer_model("no_vocab")
    if a.experts:
        writer.add_expert_count(a.experts)
        writer.add_expert_used_count(a.experts_used)
    writer.add_file_type(
        gguf.LlamaFileType.MOSTLY_F16 if a.type == "f16" else gguf.LlamaFileType.ALL_F32
    )
    half = np.dtype(np.float16)
    for name, shape, kind in tensors(a):
        dtype = half if a.type == "f16" and kind == "matrix" else np.dtype(np.float32)
        writer.add_tensor_info(name, shape, dtype, math.prod(shape) * dtype.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    # One tensor at a time: the whole model need not fit into memory.
    for name, shape, kind in tensors(a):
        writer.write_tensor_data(values(a, name, shape, kind))
    writer.close()


if __name__ == "__main__":
    main()
