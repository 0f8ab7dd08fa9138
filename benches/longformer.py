#!/usr/bin/env python3
"""Measures Longformer beside itself with windows as wide as the text, which is dense attention, and draws
docs/longformer.svg.

    cargo build --release
    python3 benches/longformer.py --rillm target/release/rillm

The model has random weights, a first token that is global, and windows of 512 columns, as the published
one; two layers of it are enough, since every layer costs the same. Times are those of `rillm eval`
without what a text of one token takes, which is starting and reading the model; of several runs the
shortest counts. Dense attention to a long text takes minutes: --dense-up-to says where it ends.
"""

import argparse
import array
import json
import math
import random
import struct
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEADS, HIDDEN, LAYERS, VOCABULARY, WINDOW = 256, 4, 1024, 2, 1000, 512
LENGTHS = [1024 << step for step in range(7)]


def tensors():
    """Names and shapes of the checkpoint."""
    square, wide = (WIDTH, WIDTH), (HIDDEN, WIDTH)
    found = {
        "embeddings.word_embeddings.weight": (VOCABULARY, WIDTH),
        "embeddings.position_embeddings.weight": (LENGTHS[-1] + 2, WIDTH),
        "embeddings.token_type_embeddings.weight": (1, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
    }
    for layer in range(LAYERS):
        matrices = {f"attention.self.{name}{kind}": square for name in ("query", "key", "value") for kind in ("", "_global")}
        matrices |= {"attention.output.dense": square, "intermediate.dense": wide, "output.dense": wide[::-1]}
        norms = {"attention.output.LayerNorm": (WIDTH,), "output.LayerNorm": (WIDTH,)}
        for name, shape in (matrices | norms).items():
            found[f"encoder.layer.{layer}.{name}.weight"] = shape
            found[f"encoder.layer.{layer}.{name}.bias"] = shape[:1]
    found = {f"longformer.{name}": shape for name, shape in found.items()}
    for name, rows in (("dense", WIDTH), ("out_proj", 2)):
        found |= {f"classifier.{name}.weight": (rows, WIDTH), f"classifier.{name}.bias": (rows,)}
    return found


def write_model(folder):
    """Weights of which every row differs; what they are does not matter."""
    draw = random.Random(0)
    some = array.array("f", (draw.uniform(-0.1, 0.1) for _ in range(65521)))
    header, start = {}, 0
    for name, shape in tensors().items():
        end = start + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for shape in tensors().values():
            count = math.prod(shape)
            file.write((some * (count // len(some) + 1))[:count].tobytes())


def write_config(folder, window):
    config = {
        "architectures": ["LongformerForSequenceClassification"],
        "model_type": "longformer",
        "hidden_size": WIDTH,
        "num_attention_heads": HEADS,
        "intermediate_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": LENGTHS[-1] + 2,
        "type_vocab_size": 1,
        "attention_window": window,
    }
    (folder / "config.json").write_text(json.dumps(config))


def seconds(rillm, folder, length, runs, threads):
    """The shortest time of `rillm eval`."""
    ids = {"input_ids": [[3 + place * 7 % (VOCABULARY - 3) for place in range(length)]]}
    given, made = (folder.parent / name for name in ("input.json", "output.safetensors"))
    given.write_text(json.dumps(ids))
    command = [rillm, "eval", folder, "--threads", str(threads)]
    command += ["--input", given, "--output", made]
    best = math.inf
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        best = min(best, time.perf_counter() - start)
    return best


def cpu():
    facts = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    name = facts.get("model name", "unknown CPU")
    return f"{name}, family {facts.get('cpu family', '?')} model {facts.get('model', '?')}"


def drawing(title, curves):
    """Curves of time over length, both axes logarithmic."""
    width, height, left, top = 720, 440, 70, 60
    times = [time for points in curves.values() for _, time in points]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))

    def place(length, time):
        x = left + (width - left - 150) * math.log2(length / LENGTHS[0]) / math.log2(LENGTHS[-1] / LENGTHS[0])
        y = top + (height - top - 50) * (high - math.log10(time)) / (high - low)
        return x, y

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">']
    parts.append(f'<rect width="{width}" height="{height}" fill="white"/>')
    parts.append(f'<text x="{left}" y="24" font-size="15">Longformer: seconds for a text, window {WINDOW} and dense</text>')
    parts.append(f'<text x="{left}" y="44" fill="#666">{title}</text>')
    for length in LENGTHS:
        x, y = place(length, 10**low)
        parts.append(f'<text x="{x:.0f}" y="{y + 20:.0f}" text-anchor="middle">{length // 1024}K</text>')
    for power in range(low, high + 1):
        x, y = place(LENGTHS[0], 10.0**power)
        end = place(LENGTHS[-1], 10.0**power)[0]
        parts.append(f'<path d="M{x:.0f} {y:.0f}H{end:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 8:.0f}" y="{y + 4:.0f}" text-anchor="end">{10.0**power:g} s</text>')
    for (name, points), colour in zip(curves.items(), ("#06c", "#c30")):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in points:
            x, y = place(*point)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"><title>{point[0]} tokens: {point[1]:.3f} s</title></circle>')
        x, y = place(*points[-1])
        parts.append(f'<text x="{x + 10:.0f}" y="{y + 4:.0f}" fill="{colour}">{name}, {points[-1][1]:.2f} s</text>')
    return "\n".join(parts + ["</svg>"]) + "\n"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rillm", default=ROOT / "target/release/rillm")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--dense-up-to", type=int, default=32768)
    arguments.add_argument("--up-to", type=int, default=LENGTHS[-1])
    arguments.add_argument("--svg", default=ROOT / "docs/longformer.svg")
    given = arguments.parse_args()
    curves = {}
    with tempfile.TemporaryDirectory() as opened:
        folder = Path(opened) / "model"
        folder.mkdir()
        write_model(folder)
        for name, window in (("window", WINDOW), ("dense", 2 * LENGTHS[-1])):
            write_config(folder, window)
            nothing = seconds(given.rillm, folder, 1, given.runs, given.threads)
            points = curves.setdefault(name, [])
            for length in LENGTHS:
                if length > (given.up_to if name == "window" else given.dense_up_to):
                    break
                runs = given.runs if length <= 16384 else 1
                took = seconds(given.rillm, folder, length, runs, given.threads) - nothing
                points.append((length, took))
                print(f"{name} {length} {took:.4f} s", flush=True)
    for (length, sparse), (_, dense) in zip(curves["window"], curves["dense"]):
        print(f"{length}: dense takes {dense / sparse:.1f} times as long")
    title = f"{cpu()}, {given.threads} threads, {LAYERS} layers of width {WIDTH}"
    Path(given.svg).write_text(drawing(title, curves))


if __name__ == "__main__":
    main()
