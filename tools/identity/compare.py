"""Compares what two builds of rillm compute, byte for byte.

    python3 tools/identity/compare.py OLD NEW FIXTURES

A change that is meant to move code and nothing else must leave every output as it was: each logit
in all its bits and each file that is written. The tests cannot say so, since they compare with the
references within a tolerance. OLD and NEW are the binaries before and after, FIXTURES the folder
of golden fixtures. On every instruction set of this machine both run

- every case of every fixture, whole, in batches of three, and one position at a time;
- every fixture's GGUF file, and its quantized form;
- synthetic models in each type that `rillm quantize` writes, and models of random blocks in the
  types that it only reads;
- the models compiled in, continuing a text with each type of keys and values, greedily and by
  several chains of samplers.

Whatever is quantized, synthesized or cached on the way is written by both and compared as well. A
refusal is an outcome like any other: the messages must agree. Exits with 1 if anything differs.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import blocks
import folders

INSTRUCTION_SETS = ["scalar", "portable", "neon", "dotprod", "avx2", "avxvnni", "avx512", "amx"]

# How an input is cut; threads and mapping, which must not matter, vary along with it.
WAYS = {
    "whole": [],
    "batches": ["--batch", "3", "--threads", "2", "--no-mmap"],
    "steps": ["--step", "--threads", "1"],
}

# Models quantized to every type: their rows are whole blocks, of the shapes of 256, else of 32.
SHAPES_IN_EVERY_TYPE = ["tiny-llama", "tiny-mixtral"]
FIXTURES_IN_EVERY_TYPE = ["bamba", "gla", "rwkv7_fla"]
SHAPES_IN_SOME = [
    "tiny-mamba", "tiny-mamba2", "tiny-retnet", "tiny-linear",
    "tiny-gla", "tiny-rwkv4", "tiny-rwkv6", "tiny-rwkv7",
]  # fmt: skip
SOME_TYPES = ["F32", "Q8_0", "Q4_0", "Q4_K_M"]

# Longer than two pages of keys and values, than a tile of rows and than a chunk of a scan.
IDS = json.dumps({"input_ids": [[index * 37 % 89 + 3 for index in range(130)]]})

DEMOS = ["llama", "mamba", "retnet"]
STORY = "One day, Lily found a tiny bean seed in the garden. She took it to her mom and asked. " * 4
GREEDY = ["--seed", "7", "--temp", "0", "--logprobs", "1000", "--ignore-eos"]
SAMPLED = ["--seed", "7", "-n", "60", "--logprobs", "9", "--ignore-eos"]
RUNS = {
    "f32": [*GREEDY, "-n", "24", "--kv-type", "f32"],
    "f16": [*GREEDY, "-n", "24", "--kv-type", "f16"],
    "q8_0": [*GREEDY, "-n", "24", "--kv-type", "q8_0"],
    "endless": [*GREEDY, "-n", "90", "-c", "128", "--endless"],
    "endless q8_0": [*GREEDY, "-n", "90", "-c", "128", "--endless", "--kv-type", "q8_0"],
    "sampled": [*SAMPLED, "--temp", "1.1", "--repeat-penalty", "1.1", "--min-p", "0.02"],
    "dry": [*SAMPLED, "--dry-multiplier", "0.8", "--typical", "0.9", "--top-nsigma", "2"],
    "xtc": [*SAMPLED, "--xtc-probability", "0.5", "--dynatemp-range", "0.4", "--top-p", "0.8"],
    "mirostat": [*SAMPLED, "--mirostat", "2", "--presence-penalty", "0.3"],
}
# How rillm ends where a command line makes no sense to it: a defect of this script.
MISUSED = 2
TIMES = re.compile(r'"(prompt_)?seconds":[^,}]*')


class Pair:
    """Both binaries, asked the same; counts the answers and keeps what differs."""

    def __init__(self, old, new, scratch):
        self.binaries = [str(old.resolve()), str(new.resolve())]
        self.out = scratch / "out"
        self.counts, self.refusals, self.differing = Counter(), Counter(), []

    def answer(self, binary, arguments, isa=None):
        """What a binary says, and the file it leaves at `out`."""
        self.out.unlink(missing_ok=True)
        environment = {**os.environ, "RILLM_ISA": isa or ""}
        done = subprocess.run([binary, *map(str, arguments)], capture_output=True, env=environment)
        said = done.stdout.decode()
        # Figures of speed go to standard error, and with the text of a run.
        said = TIMES.sub("", said) if done.returncode == 0 else said + done.stderr.decode()
        return done.returncode, said, self.out.read_bytes() if self.out.exists() else None

    def compare(self, label, arguments, isa=None):
        """Asks both; returns the file that OLD left, if any."""
        old, new = (self.answer(binary, arguments, isa) for binary in self.binaries)
        if old[0] == MISUSED:
            raise SystemExit(f"{label}: {old[1]}")
        kind = isa or "files"
        self.counts[kind] += 1
        if old != new:
            self.differing.append(f"{kind}: {label}")
        else:
            self.refusals[kind] += old[0] != 0
        return old[2]

    def write(self, label, path, arguments):
        """Has both write a file and keeps OLD's at `path`; returns whether there is one."""
        file = self.compare(label, arguments)
        if file is not None:
            path.write_bytes(file)
        return file is not None

    def evaluate(self, label, model, inputs, ways=("whole",)):
        """Has both run each input on each instruction set."""
        for isa in self.instruction_sets:
            for name, path in inputs.items():
                for way in ways:
                    arguments = ["eval", model, "--input", path, "--output", self.out]
                    self.compare(f"{label}, {name}, {way}", [*arguments, *WAYS[way]], isa)

    def quantize(self, label, model, types, inputs, ways, options=()):
        """Has both write a model in each of the types and run it."""
        for name in types:
            path = self.out.with_name("quantized.gguf")
            arguments = ["quantize", model, self.out, name, *options]
            if self.write(f"{label} to {name}", path, arguments):
                self.evaluate(f"{label} as {name}", path, inputs, ways)


def names_of_types(binary):
    """The types that `rillm quantize` lists."""
    text = subprocess.run([binary, "quantize", "--help"], capture_output=True, text=True).stdout
    return re.findall(r"^  (\w+) ", text.partition("\nTypes:\n")[2], re.MULTILINE)


def write_inputs(folder, cases):
    inputs = {case["name"]: folder / f"{case['name']}.input" for case in cases}
    for case in cases:
        inputs[case["name"]].write_text(json.dumps(case["input"]))
    return inputs


def compare_fixtures(pair, fixtures, types, scratch):
    for fixture in fixtures:
        folder = scratch / fixture.name
        inputs = write_inputs(folder, folders.materialise(fixture, folder))
        pair.evaluate(fixture.name, folder, inputs, WAYS)
        every = fixture.name in FIXTURES_IN_EVERY_TYPE
        pair.quantize(fixture.name, folder, types if every else ["COPY", "Q8_0"], inputs, ["whole"])
        # llama.cpp's conversion, beside the fixtures' folder.
        converted = fixture.parent.with_name(f"{fixture.name}.gguf")
        if converted.exists():
            pair.evaluate(converted.name, converted, inputs)


def compare_types(pair, types, scratch):
    inputs = {"ids": scratch / "ids.input"}
    inputs["ids"].write_text(IDS)
    for shape in SHAPES_IN_EVERY_TYPE + SHAPES_IN_SOME:
        every = shape in SHAPES_IN_EVERY_TYPE
        path = scratch / f"{shape}.gguf"
        if pair.write(shape, path, ["synth", shape, pair.out, "-q", "f32"]):
            pair.quantize(shape, path, types if every else SOME_TYPES, inputs, WAYS)
            if every:
                pair.quantize(f"{shape} alike", path, types, inputs, ["steps"], ["--pure"])
    for name in blocks.TYPES:
        path = scratch / f"{name}.gguf"
        path.write_bytes(blocks.model(name))
        pair.evaluate(f"blocks of {name}", path, inputs, WAYS)


def compare_runs(pair):
    for demo in DEMOS:
        for isa in pair.instruction_sets:
            for name, options in RUNS.items():
                arguments = ["run", "--demo", demo, "-p", STORY, "--json", *options]
                # What is cached is compared as well; a text without end has no cache.
                cache = [] if "--endless" in options else ["--prompt-cache", pair.out]
                pair.compare(f"{demo} runs, {name}", [*arguments, *cache], isa)


def main():
    parser = argparse.ArgumentParser(description="Compare two builds' outputs byte for byte.")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("fixtures", type=Path, help="the folder of golden fixtures")
    parser.add_argument("--only", nargs="*", help="these fixtures alone, and nothing else")
    arguments = parser.parse_args()
    fixtures = sorted(path.parent for path in arguments.fixtures.glob("*/weights.json"))
    if arguments.only:
        fixtures = [fixture for fixture in fixtures if fixture.name in arguments.only]
    if not fixtures:
        raise SystemExit(f"no fixtures in {arguments.fixtures}")
    with tempfile.TemporaryDirectory() as scratch:
        pair = Pair(arguments.old, arguments.new, Path(scratch))
        old = pair.binaries[0]
        probe = ["inspect", "--demo", DEMOS[0]]
        pair.instruction_sets = [
            isa for isa in INSTRUCTION_SETS if pair.answer(old, probe, isa)[0] == 0
        ]
        types = names_of_types(old)
        if not pair.instruction_sets or not types:
            raise SystemExit(f"{old} tells no instruction sets or no types")
        compare_fixtures(pair, fixtures, types, Path(scratch))
        if not arguments.only:
            compare_types(pair, types, Path(scratch))
            compare_runs(pair)
    for kind in [*pair.instruction_sets, "files"]:
        refused = pair.refusals[kind]
        print(f"{kind:10} {pair.counts[kind]:6} compared, {refused} of them refused alike")
    for label in pair.differing:
        print(f"differs: {label}")
    print(f"{len(pair.differing)} of {pair.counts.total()} differ")
    sys.exit(1 if pair.differing else 0)


if __name__ == "__main__":
    main()
