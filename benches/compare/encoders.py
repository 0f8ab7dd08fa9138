#!/usr/bin/env python3
"""Measures rillm's encoders beside ONNX Runtime and writes a table: the one in docs/encoders.md.

    cargo build --release
    python -m venv v
    v/bin/pip install torch transformers onnx onnxruntime
    v/bin/python benches/compare/encoders.py --work FOLDER

Models have the shapes of BERT-base and of MiniLM (6 layers of 384) and random weights; both engines
get the same ones. ONNX Runtime runs them as exported and with its optimizer's fused attention, in
float32 and dynamically quantized to int8, and the better of the two counts, test by test. Runs are
interleaved: one of each, then again; medians count.

With `--llama-bench PROGRAM` llama.cpp is the peer instead, on the very same GGUF files; its best of four
ways (repacked or not, flash attention or not) counts. Its program takes one text at a time.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

SHAPES = {
    "bert-base": {},
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
}
TYPES = ["f32", "q8_0", "q4_0", "q4_k_m"]
# Texts and tokens of each.
TESTS = [(1, 128), (1, 512), (32, 128)]


def make(work, rillm, onnx):
    """Writes each model in every form that is missing, for ONNX Runtime if wanted."""
    for name, shape in SHAPES.items():
        folder = work / name
        if not folder.exists():
            export(folder, shape)
        for kind in TYPES:
            out = work / f"{name}-{kind}.gguf"
            if not out.exists():
                command = [rillm, "quantize", folder, out, "-q", kind]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if onnx:
            fuse(folder, shape)


def export(folder, shape):
    import torch
    import transformers

    torch.cuda.is_current_stream_capturing = lambda: False
    torch.manual_seed(0)
    config = transformers.BertConfig(**shape)
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    model.set_attn_implementation("eager")
    model.save_pretrained(folder)

    class Rows(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, ids, mask):
            return self.model(input_ids=ids, attention_mask=mask).last_hidden_state

    ids = torch.zeros(2, 16, dtype=torch.long)
    names = ["ids", "mask", "rows"]
    axes = {name: {0: "texts", 1: "tokens"} for name in names}
    with torch.no_grad():
        torch.onnx.export(
            Rows(), (ids, torch.ones_like(ids)), f"{folder}.onnx", input_names=names[:2], output_names=names[2:],
            dynamic_axes=axes, opset_version=17, dynamo=False,
        )  # fmt: skip


def fuse(folder, shape):
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer

    plain, fused = Path(f"{folder}.onnx"), Path(f"{folder}-fused.onnx")
    if not fused.exists():
        size = {"num_heads": shape.get("num_attention_heads", 12), "hidden_size": shape.get("hidden_size", 768)}
        model = optimizer.optimize_model(str(plain), model_type="bert", opt_level=0, use_gpu=False, **size)
        model.save_model_to_file(str(fused))
    for source in plain, fused:
        out = source.with_name(f"{source.stem}-int8.onnx")
        if not out.exists():
            # What fused operators yield is floats, which the shapes do not tell.
            options = {"DefaultTensorType": 1}
            quantize_dynamic(source, out, weight_type=QuantType.QInt8, extra_options=options)


def onnx_runtime(path, texts, tokens, threads):
    """Tokens per second of the best of some runs, in this process."""
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    ids = numpy.random.default_rng(0).integers(0, 30000, (texts, tokens))
    inputs = {"ids": ids, "mask": numpy.ones_like(ids)}
    session.run(None, inputs)
    times = []
    while sum(times) < 0.5 or len(times) < 3:
        start = time.perf_counter()
        session.run(None, inputs)
        times.append(time.perf_counter() - start)
    return texts * tokens / statistics.median(times)


def ours(rillm, path, texts, tokens, threads):
    runs = max(3, 8192 // (texts * tokens))
    command = [rillm, "bench", path, "-p", tokens, "-n", 0, "--texts", texts, "-t", threads, "-r", runs]
    command += ["--no-roofline", "--json"]
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["median"]


def llama_cpp(program, path, tokens, repack, flash, threads):
    """Tokens per second of llama.cpp's embedding of one text."""
    command = [program, "-m", path, "-embd", 1, "-p", tokens, "-n", 0, "-b", tokens, "-ub", tokens, "-t", threads]
    command += ["-r", max(3, 2048 // tokens), "--repack", repack, "-fa", flash, "-o", "json"]
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return statistics.median(json.loads(done.stdout)[0]["samples_ts"])


def beside_llama_cpp(arguments):
    """Prints the table of one text at a time beside llama.cpp."""
    print("| shape | test | type | rillm | llama.cpp | ratio |\n|:--|:--|:--|--:|--:|--:|")
    for name in arguments.only:
        for tokens in sorted({tokens for _, tokens in TESTS}):
            for kind in TYPES:
                path, rates, theirs = arguments.work / f"{name}-{kind}.gguf", [], {}
                for _ in range(arguments.rounds):
                    rates.append(ours(arguments.rillm, path, 1, tokens, arguments.threads))
                    for way in [(repack, flash) for repack in (0, 1) for flash in (0, 1)]:
                        rate = llama_cpp(arguments.llama_bench, path, tokens, *way, arguments.threads)
                        theirs.setdefault(way, []).append(rate)
                rate, best = statistics.median(rates), max(map(statistics.median, theirs.values()))
                print(f"| {name} | 1 x {tokens} | {kind} | {rate:.0f} | {best:.0f} | **{rate / best:.2f}** |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rillm", default="target/release/rillm", type=Path)
    parser.add_argument("--work", default="target/encoders", type=Path, help="where models are kept")
    parser.add_argument("--threads", default=2, type=int)
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--only", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--llama-bench", type=Path, help="llama.cpp's program, the peer in place of ONNX Runtime")
    parser.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    threads = arguments.threads
    if arguments.peer:
        path, texts, tokens = arguments.peer
        print(onnx_runtime(path, int(texts), int(tokens), threads))
        return
    arguments.work.mkdir(parents=True, exist_ok=True)
    make(arguments.work, arguments.rillm.resolve(), onnx=not arguments.llama_bench)
    print(f"{platform.processor() or platform.machine()}, {threads} threads, {arguments.rounds} rounds\n")
    if arguments.llama_bench:
        return beside_llama_cpp(arguments)
    print("| shape | test | " + " | ".join(TYPES) + " | ONNX Runtime f32 | int8 | f32 to f32 | q8_0 to int8 |")
    print("|:--|:--|" + "--:|" * (len(TYPES) + 4))
    for name in arguments.only:
        for texts, tokens in TESTS:
            rates = {}
            for _ in range(arguments.rounds):
                for kind in TYPES:
                    rate = ours(arguments.rillm, arguments.work / f"{name}-{kind}.gguf", texts, tokens, threads)
                    rates.setdefault(kind, []).append(rate)
                for form in ["", "-fused", "-int8", "-fused-int8"]:
                    # A process of its own, as for ours.
                    peer = ["--peer", arguments.work / f"{name}{form}.onnx", texts, tokens, "--threads", threads]
                    command = [sys.executable, __file__, *peer]
                    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
                    rates.setdefault("onnx" + form, []).append(float(done.stdout))
            median = {key: statistics.median(values) for key, values in rates.items()}
            floats = max(median["onnx"], median["onnx-fused"])
            bytes_ = max(median["onnx-int8"], median["onnx-fused-int8"])
            cells = [f"{median[kind]:.0f}" for kind in TYPES] + [f"{floats:.0f}", f"{bytes_:.0f}"]
            cells += [f"**{median['f32'] / floats:.2f}**", f"**{median['q8_0'] / bytes_:.2f}**"]
            print(f"| {name} | {texts} x {tokens} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
