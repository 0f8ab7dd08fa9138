"""Records what a build of rillm writes, for tests that later builds still read it.

    python3 tools/identity/record.py RILLM FIXTURES FOLDER

Into FOLDER go, for each model of MODELS,

- `NAME.gguf`, as `rillm quantize` converts a fixture that is cut to few layers and tokens;
- `NAME.safetensors`, the logits that `rillm eval` gives for the ids in `written.json`;
- `NAME.TYPE.snapshot`, as `rillm run --prompt-cache` leaves it, with keys and values of TYPE;

a snapshot of the demonstration model, whose heads are wide enough for Q8_0; and `written.json`: the
ids, what each snapshot was continued with, and of each fixture's folder the fingerprint that its
snapshots bear. Everything is computed by the scalar kernels.

GGUF files and snapshots that are there are kept, as they stand for builds that are no more, and
only what is computed of them is recorded anew: delete a file to have it written again, as must be
done with snapshots of a version that the build does not read.
"""

import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import folders

# Token 0 ends a text, the others are a character each.
CHARACTERS = " abcdefghijklmnopqrstuv"
VOCABULARY = 1 + len(CHARACTERS)
PROMPT = "a dim cab had a bad lid"
IDS = [7, 3, 19, 1, 23, 11, 4, 16, 2, 9, 13, 5, 20]

# The dialects of GGUF that are this project's own, and a model of each kind of state but an
# encoder's. Of each the fixture, and the hyperparameters that are cut. A number of layers leaves
# out those behind it; any other also cuts the tensors' extents that equal it.
LAYERS = {"num_hidden_layers", "num_layers", "decoder_layers", "n_layer", "depth"}
MODELS = {
    "llama": ("llama_mqa", {"num_hidden_layers": 1, "vocab_size": VOCABULARY}),
    "mamba": ("mamba", {"num_hidden_layers": 1, "vocab_size": VOCABULARY}),
    "mamba2": ("mamba2_bias", {"num_hidden_layers": 1, "vocab_size": VOCABULARY}),
    "retnet": ("retnet", {"decoder_layers": 1, "vocab_size": VOCABULARY}),
    "retnet_fla": ("retnet_fla_shared", {"num_hidden_layers": 1, "vocab_size": VOCABULARY}),
    "gla": ("gla_shared", {"num_hidden_layers": 1, "vocab_size": VOCABULARY}),
    "linear_transformer": (
        "linear_transformer",
        {"num_layers": 1, "vocab_size": VOCABULARY, "max_position_embeddings": 48},
    ),
    "rwkv4": ("rwkv4", {"num_hidden_layers": 1, "vocab_size": VOCABULARY}),
    # Its vocabulary is cut into clusters.
    "transfo_xl": ("transfo_xl_segments", {"n_layer": 2}),
    "compressive_transformer": ("compressive_transformer", {"depth": 1, "num_tokens": VOCABULARY}),
}
KV_TYPES = {"llama": ["f32", "f16"]}
DEMO = Path(__file__).parents[2] / "assets/demo.gguf"
STORY = "One day, Lily found a tiny"


def rillm(binary, *arguments):
    """What the binary says, computed by the scalar kernels on one thread."""
    environment = {**os.environ, "RILLM_ISA": "scalar"}
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"{arguments}: {done.stderr.decode()}")
    return done.stdout.decode()


def read(path):
    return json.loads(path.read_text())


def write_vocabulary(folder):
    lines = [f"{number} {text!r} 1\n" for number, text in enumerate(CHARACTERS, 1)]
    (folder / "rwkv_vocab.txt").write_text("".join(lines))


def write_cut(fixture, cuts, folder):
    """A fixture's folder with smaller hyperparameters, and a vocabulary."""
    config, weights = read(fixture / "config.json"), read(fixture / "weights.json")
    extents = {config[key]: value for key, value in cuts.items() if key not in LAYERS}
    layers = next(value for key, value in cuts.items() if key in LAYERS)
    entries = []
    for entry in weights["tensors"]:
        layer = re.search(r"(?:layers|blocks|h)\.(\d+)\.", entry["name"])
        if layer is None or int(layer[1]) < layers:
            shape = [extents.get(extent, extent) for extent in entry["shape"]]
            entries.append({**entry, "shape": shape})
    folders.write(folder, {**config, **cuts}, weights["seed"], entries)
    write_vocabulary(folder)


def continued(binary, model, prompt, kv_type, snapshot):
    """What a run beginning with a snapshot writes; the snapshot is made if there is none."""
    arguments = ["run", model, "-p", prompt, "--kv-type", kv_type, "--prompt-cache", snapshot]
    greedy = ["--temp", "0", "-n", 4, "--ignore-eos", "--json", "--logprobs", 24, "-c", 48]
    *lines, whole = rillm(binary, *arguments, *greedy, "-t", 1).splitlines()
    steps = [json.loads(line) for line in lines]
    return {
        "prompt": prompt,
        "tokens": [step["token"] for step in steps],
        "text": json.loads(whole)["text"],
        "top": [[[top["token"], top["logprob"]] for top in step["top"]] for step in steps],
    }


def fingerprint(binary, fixture, scratch):
    """The model's fingerprint as a snapshot bears it; None of what continues no text."""
    folder = scratch / f"folder of {fixture.name}"
    folders.materialise(fixture, folder)
    write_vocabulary(folder)
    snapshot = scratch / "fingerprint"
    snapshot.unlink(missing_ok=True)
    arguments = ["run", folder, "-p", "ab", "-n", "1", "--prompt-cache", snapshot]
    done = subprocess.run([binary, *arguments], capture_output=True)
    if done.returncode != 0:
        print(f"{fixture.name}: {done.stderr.decode().strip()}")
        return None
    return f"{struct.unpack_from('<Q', snapshot.read_bytes(), 12)[0]:016x}"


def lines(table):
    """A JSON object with a line for each key."""
    return "{\n" + ",\n".join(f'"{key}": {json.dumps(of)}' for key, of in table.items()) + "\n}"


def main():
    binary, fixtures, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    snapshots = {}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        ids = scratch / "ids.json"
        ids.write_text(json.dumps({"input_ids": [IDS]}))
        for name, (fixture, cuts) in MODELS.items():
            model = out / f"{name}.gguf"
            if not model.exists():
                write_cut(fixtures / fixture, cuts, scratch / name)
                rillm(binary, "quantize", scratch / name, model, "f16")
            logits = model.with_suffix(".safetensors")
            rillm(binary, "eval", model, "--input", ids, "--output", logits)
            for kv_type in KV_TYPES.get(name, ["f32"]):
                snapshot = out / f"{name}.{kv_type}.snapshot"
                snapshots[snapshot.name] = continued(binary, model, PROMPT, kv_type, snapshot)
        snapshot = out / "demo.q8_0.snapshot"
        snapshots[snapshot.name] = continued(binary, DEMO, STORY, "q8_0", snapshot)
        named = sorted(path.parent for path in fixtures.glob("*/weights.json"))
        prints = {fixture.name: fingerprint(binary, fixture, scratch) for fixture in named}
    tables = {
        "snapshots": snapshots,
        "fingerprints": {name: bits for name, bits in prints.items() if bits},
    }
    parts = [f'"ids": {IDS}', *(f'"{name}": {lines(table)}' for name, table in tables.items())]
    (out / "written.json").write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
