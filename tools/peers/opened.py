"""Opens in llama.cpp what rillm writes of every fixture, and holds what it computes to the authors' outputs:
`python opened.py LLAMA_LOGITS RILLM [name ...]`, in the environment of tools/fixtures/transformers5.py.

LLAMA_LOGITS is what llama_logits.cpp makes, RILLM the program. Prints a line for each fixture: the error over the RMS
of a text without padding, or what llama.cpp says against the file. Its tables of GELU in float16 alone make 1e-3.
What else differs is not in the file: llama.cpp knows one epsilon for all norms, routes Phi-3.5-MoE by a plain softmax,
takes DBRX, BLOOM, LFM2 MoE and gpt-oss to be as published, and refuses biases and layers that it does not know.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from converted import FIXTURES
from safetensors.numpy import load_file

import fixture  # from a folder that converted.py adds


def main(peer, program, wanted):
    for folder in sorted(FIXTURES.iterdir()):
        if not wanted or folder.name in wanted:
            with tempfile.TemporaryDirectory() as made:
                print(folder.name, opened(folder, Path(made), peer, program), flush=True)


def opened(folder, made, peer, program):
    entry = json.loads((folder / "weights.json").read_text())
    (made / "config.json").write_text((folder / "config.json").read_text())
    fixture.write_weights(made, entry["seed"], entry["tensors"])
    file = made / "model.gguf"
    done = subprocess.run([program, "quantize", str(made), str(file), "-q", "f32"], capture_output=True, text=True)
    if done.returncode:
        return f"not written: {done.stderr.strip().splitlines()[-1][:200]}"
    case, output = plain_case(folder)
    ids = case["input"]["input_ids"][0] if case else [1, 2, 3]
    what = "logits" if output == "logits" else "embeddings"
    run = [peer, str(file), what, *map(str, ids)]
    done = subprocess.run(run, capture_output=True)
    if done.returncode:
        said = [line for line in done.stderr.decode().splitlines() if "error loading" in line or "ASSERT" in line]
        return f"not opened: {(said or ['?'])[0].split(': ', 1)[-1][:200]}"
    if not case:
        return "opened; every text has a second one, types of tokens or padding"
    found = np.frombuffer(done.stdout, np.float32).reshape(len(ids), -1)
    want = load_file(folder / "expected.safetensors")[f"{case['name']}/{output}"][0].astype(np.float64)
    if found.shape != want.shape:
        return f"opened, has {found.shape} where {want.shape} are expected"
    return f"{np.abs(found - want).max() / np.sqrt((want**2).mean()):.1e}"


def plain_case(folder):
    """A text alone, and what of it is expected for each position."""
    for case in json.loads((folder / "cases.json").read_text()):
        alone = list(case["input"]) == ["input_ids"] and len(case["input"]["input_ids"]) == 1
        for output in ("logits", "last_hidden_state"):
            if alone and output in case["outputs"]:
                return case, output
    return None, None


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
