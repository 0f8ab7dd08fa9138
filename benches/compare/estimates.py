#!/usr/bin/env python3
"""Holds the estimates of `rillm advise` against what `rillm bench` measures, and writes a table: the one
in docs/estimates.md.

    cargo build --release
    python benches/compare/estimates.py --work FOLDER [--only PART] > docs/estimates.md

Models have the shapes of published ones and random weights (`rillm synth`). Of each, a prompt of 512
tokens is timed (an encoder's text so long), and 32 tokens that are written after 512. `--make` only draws
the models, which takes longer than all the rest.
"""

import argparse
import json
import os
import statistics
import subprocess
from pathlib import Path

# Families and three sizes of each, as far as a machine of 24 GB draws and holds them soon.
MODELS = {
    "decoder": ["smollm-135m", "llama-370m", "qwen3-0.6b", "llama-3.2-1b"],
    "experts": ["deepseek-v2-lite-like", "olmoe-like", "gpt-oss-like", "qwen3-moe-like"],
    "windows": ["gemma3-270m", "gemma3-1b", "gemma3-4b"],
    "state space": ["mamba-130m", "mamba-370m", "mamba2-370m", "mamba-1.4b"],
    "linear attention": ["gla-370m", "retnet-370m", "linear-370m", "retnet-1.3b", "retnet-2.7b"],
    "RWKV": ["rwkv4-169m", "rwkv4-430m", "rwkv4-1.5b", "rwkv6-0.4b", "rwkv7-0.4b"],
    "hybrids": ["lfm2-350m", "qwen3.5-0.8b", "lfm2-1.2b"],
    "encoder": ["bert-base", "bert-large", "xlm-r-base", "xlm-r-large", "modernbert-base"],
    "sparse encoder": ["longformer-base", "big-bird-base", "longformer-large"],
    "encoder-decoder": ["t5-small", "t5-base", "flan-t5-large"],
}
TYPES = {"smollm-135m": ["q4_k_m", "q8_0"], "llama-3.2-1b": ["q4_k_m", "q8_0"], "mamba-370m": ["q4_k_m", "q8_0"]}
CONTEXT = 512
ROUNDS = 3


def run(*command, **env):
    done = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, env={**os.environ, **env})
    return done.stdout


def estimated(rillm, file, threads):
    """What is estimated of a file from the machine's limits of this minute."""
    words = ["advise", file, "-c", CONTEXT, "-t", threads, "--remeasure", "--json"]
    found = json.loads(run(rillm, *words))["candidates"][0]
    return found["prompt_tokens_per_second"], found["generated_tokens_per_second"]


def measured(rillm, file, threads, family, writes):
    words = ["bench", file, "-r", 2, "-t", threads, "--no-roofline", "--json"]
    lines = run(rillm, *words, "-p", CONTEXT, "-n", 0).splitlines()
    if writes:
        depth = [] if "encoder" in family else ["-d", CONTEXT]
        lines += run(rillm, *words, "-p", 0, "-n", 32, *depth).splitlines()
    rates = [json.loads(line)["median"] for line in lines]
    return rates[0], rates[1] if writes else None


def both(rillm, file, threads, family):
    """Both, in turns, since a bus that others share is another one a minute later: medians."""
    estimates, measurements = [], []
    for _ in range(ROUNDS):
        estimates.append(estimated(rillm, file, threads))
        measurements.append(measured(rillm, file, threads, family, estimates[-1][1]))
    middle = lambda values: None if None in values else statistics.median(values)
    (read, written), (was_read, was_written) = [map(middle, zip(*of)) for of in (estimates, measurements)]
    return [read, was_read, written, was_written]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--work", type=Path, required=True)
    arguments.add_argument("--rillm", default="target/release/rillm")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--only", default="")
    arguments.add_argument("--make", action="store_true")
    arguments.add_argument("--keep", type=Path, help="figures measured so far, which are added to")
    arguments = arguments.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    kept = json.loads(arguments.keep.read_text()) if arguments.keep and arguments.keep.exists() else {}
    for family, names in MODELS.items():
        for name in names:
            for kind in TYPES.get(name, ["q8_0"]):
                label = f"{family}/{name}/{kind}"
                file = arguments.work / f"{name}-{kind}.gguf"
                if not file.exists() and (arguments.make or not arguments.keep):
                    run(arguments.rillm, "synth", name, file, "-q", kind, "-t", arguments.threads)
                if arguments.make or arguments.only not in label or label in kept or not file.exists():
                    continue
                kept[label] = both(arguments.rillm, file, arguments.threads, family)
                if arguments.keep:
                    arguments.keep.write_text(json.dumps(kept, indent=1))
    if not arguments.make:
        table(arguments, kept)


def table(arguments, kept):
    machine = json.loads(run(arguments.rillm, "advise", "tiny-llama", "-t", arguments.threads, "--json"))["machine"]
    print("# Estimates beside measurements\n")
    print("Written by `benches/compare/estimates.py`: tokens per second that `rillm advise` estimates and `rillm bench`")
    print(f"measures, of prompts of {CONTEXT} tokens (of encoders: texts) and of 32 tokens written after as many; random")
    print(f"weights in published shapes, {machine['threads']} threads of {machine['isa']} on an {machine['cpu']}.\n")
    print("| family | model | type | read: estimated | measured | off | written: estimated | measured | off |")
    print("|:--|:--|:--|--:|--:|--:|--:|--:|--:|")
    offs = ([], [])
    for label, (a, b, c, d) in kept.items():
        off = [b and (a - b) / b, d and (c - d) / d]
        for which, value in zip(offs, off):
            if value is not None:
                which.append(abs(value))
        cell = lambda x: "–" if x is None else f"{x:.0f}" if x >= 100 else f"{x:.1f}"
        sign = lambda x: "–" if x is None else f"{100 * x:+.0f}%"
        print("| " + " | ".join([*label.split("/"), cell(a), cell(b), sign(off[0]), cell(c), cell(d), sign(off[1])]) + " |")
    for what, which in zip(["of what is read", "of what is written"], offs):
        if which:
            print(f"\nMedian error {what}: {100 * statistics.median(which):.0f}%, the largest {100 * max(which):.0f}%.")


if __name__ == "__main__":
    main()
