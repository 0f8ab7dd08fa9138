"""LLaMAs of random blocks, of the types that are read but that `rillm quantize` does not write."""

import struct

import folders

WIDTH, HIDDEN, VOCABULARY, LAYERS, HEADS, KV_HEADS = 256, 512, 96, 2, 8, 2

# Of each type: its number in GGUF, weights and bytes of a block, and what keeps a block's scale
# at 2^-8 or nearby: bytes to overwrite, by their offset.
HALF = {0: 0x00, 1: 0x1C}
TYPES = {
    "IQ2_XXS": (16, 256, 66, HALF),
    "IQ2_XS": (17, 256, 74, HALF),
    "IQ3_XXS": (18, 256, 98, HALF),
    "IQ1_S": (19, 256, 50, HALF),
    "IQ3_S": (21, 256, 110, HALF),
    "IQ2_S": (22, 256, 82, HALF),
    # The four last odd bytes hold a digit of the half each, above three bits of scales.
    "IQ1_M": (29, 256, 56, {49: 0x05, 51: 0x03, 53: 0xCA, 55: 0x1B}),
    "NVFP4": (40, 64, 36, {0: 0x18, 1: 0x0C, 2: 0x14, 3: 0x11}),
}


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def number(key, value):
    return text(f"llama.{key}") + struct.pack("<II", 4, value)


def shapes():
    """Names and shapes of the tensors, extents outermost first."""
    yield "token_embd.weight", (VOCABULARY, WIDTH)
    yield "output.weight", (VOCABULARY, WIDTH)
    yield "output_norm.weight", (WIDTH,)
    for layer in range(LAYERS):
        for name, shape in {
            "attn_norm": (WIDTH,),
            "attn_q": (WIDTH, WIDTH),
            "attn_k": (WIDTH // HEADS * KV_HEADS, WIDTH),
            "attn_v": (WIDTH // HEADS * KV_HEADS, WIDTH),
            "attn_output": (WIDTH, WIDTH),
            "ffn_norm": (WIDTH,),
            "ffn_gate": (HIDDEN, WIDTH),
            "ffn_up": (HIDDEN, WIDTH),
            "ffn_down": (WIDTH, HIDDEN),
        }.items():
            yield f"blk.{layer}.{name}.weight", shape


def random_blocks(name, count, size, fixed):
    words = folders.stream(11, name, -(-count * size // 8))
    data = bytearray(b"".join(struct.pack("<Q", word) for word in words)[: count * size])
    for start in range(0, len(data), size):
        for offset, byte in fixed.items():
            data[start + offset] = byte
    return bytes(data)


def model(type_name):
    """A GGUF file whose matrices are of this type; its norms are ones."""
    dtype, weights, size, fixed = TYPES[type_name]
    keys = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        number("embedding_length", WIDTH),
        number("feed_forward_length", HIDDEN),
        number("block_count", LAYERS),
        number("context_length", 512),
        number("attention.head_count", HEADS),
        number("attention.head_count_kv", KV_HEADS),
    ]
    infos, body = [], b""
    for name, shape in shapes():
        matrix = len(shape) > 1
        extents = struct.pack(f"<{len(shape)}Q", *reversed(shape))
        info = text(name) + struct.pack("<I", len(shape)) + extents
        infos.append(info + struct.pack("<IQ", dtype if matrix else 0, len(body)))
        if matrix:
            body += random_blocks(name, folders.elements(shape) // weights, size, fixed)
        else:
            body += struct.pack(f"<{WIDTH}f", *[1.0] * WIDTH)
        body += bytes(-len(body) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(keys)) + b"".join(keys + infos)
    return head + bytes(-len(head) % 32) + body
