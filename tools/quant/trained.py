"""A trained model's quantized files: errors of the weights, and how far what comes out has moved.

    python tools/quant/trained.py --ours path/to/rillm [--peer path/to/llama-quantize] MODEL [TYPE ...]

Needs numpy, gguf 0.19 and safetensors. MODEL, a GGUF file or a Hugging Face folder, is written in
F32 and then quantized, by llama-quantize as well if it is given. A line says for each type the root
mean square error of the quantized tensors relative to the weights' own and, reckoned from what
`rillm eval` gives for each file and for the one in F32 over pages of Python's language reference (as
the standard library has it for `help()`): of a decoder the mean KL divergence, how often the
likeliest token is the same, and the perplexity, each over the second half of every window; of an
encoder the mean and the least cosine of a window's mean vector with the F32 file's.
"""

import argparse
import json
import tempfile
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from safetensors import safe_open

from quality import errors, run, tensors

TYPES = "Q8_0 Q6_K Q5_K_M Q4_K_M Q4_1 Q4_0 IQ4_NL IQ4_XS Q3_K_M Q2_K".split()
# Windows of each kind of model: how many, and tokens of each.
DECODER, ENCODER = (4, 512), (32, 128)


class Outputs:
    """What `rillm eval` gives for windows of the text."""

    def __init__(self, ours, original, folder):
        self.ours, self.folder = ours, folder
        text = folder / "text.txt"
        text.write_text("\n".join(topics[name] for name in sorted(topics))[:60000])
        said = run(ours, "tokenize", original, "-f", text, "--ids", "--no-special")
        self.is_decoder = "logits" in self.names(original)
        count, length = DECODER if self.is_decoder else ENCODER
        ids = [int(id) for id in said.split()][: count * length]
        self.windows = np.array(ids).reshape(count, length)
        self.base = None

    def names(self, path):
        with self.of(path, [[1, 2]]) as outputs:
            return list(outputs.keys())

    def of(self, path, ids):
        given, out = self.folder / "in.json", self.folder / "out.safetensors"
        given.write_text(json.dumps({"input_ids": np.asarray(ids).tolist()}))
        run(self.ours, "eval", path, "--input", given, "--output", out)
        return safe_open(out, "np")

    def rows(self, path):
        for window in self.windows:
            with self.of(path, [window]) as outputs:
                if self.is_decoder:
                    logits = outputs.get_tensor("logits")[0, len(window) // 2 : -1].astype(np.float64)
                    logits -= logits.max(-1, keepdims=True)
                    yield (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)
                else:
                    vector = outputs.get_tensor("last_hidden_state")[0].mean(0)
                    yield vector / np.linalg.norm(vector)

    def moved(self, path):
        """How far this file's outputs are from those of the first one asked for."""
        if self.base is None:
            self.base = list(self.rows(path))
        found = []
        for window, before, after in zip(self.windows, self.base, self.rows(path)):
            if self.is_decoder:
                own = np.exp(before)
                told = after[np.arange(len(after)), window[len(window) // 2 + 1 :]]
                same = before.argmax(-1) == after.argmax(-1)
                found += zip((own * (before - after)).sum(-1, dtype=np.float64), same, -told)
            else:
                found.append((float(before @ after),))
        columns = np.array(found, np.float64)
        if not self.is_decoder:
            return f"{columns.mean():.6f} | {columns.min():.6f}"
        kl, same, told = columns.mean(0)
        return f"{kl:.6f} | {100 * same:.1f}% | {np.exp(told):.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True)
    parser.add_argument("--peer")
    parser.add_argument("model")
    parser.add_argument("types", nargs="*", default=TYPES)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        original = folder / "f32.gguf"
        run(given.ours, "quantize", given.model, original, "--type", "f32", "--allow-requantize")
        values = dict(tensors(original))
        outputs = Outputs(given.ours, original, folder)
        columns = "KL | same token | perplexity" if outputs.is_decoder else "cosine: mean | least"
        print(f"| type | written by | error | {columns} |")
        print("|---" * (3 + columns.count("|") + 1) + "|")
        print(f"| F32 | rillm | 0 | {outputs.moved(original)} |", flush=True)
        for kind in given.types:
            for program in ("rillm", "llama-quantize") if given.peer else ("rillm",):
                path = folder / "small.gguf"
                if program == "rillm":
                    run(given.ours, "quantize", original, path, "--type", kind, "--force")
                else:
                    run(given.peer, original, path, kind)
                found = errors(values, path)
                own = sum(float((values[name].astype(np.float64) ** 2).sum()) for name in found)
                error = (sum(e for e, _ in found.values()) / own) ** 0.5
                print(f"| {kind} | {program} | {100 * error:.3f}% | {outputs.moved(path)} |", flush=True)


if __name__ == "__main__":
    main()
