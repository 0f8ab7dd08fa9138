"""Quantized files of ours beside llama-quantize's: errors of each tensor, and of what comes out.

    python tools/quant/quality.py --ours path/to/rillm --peer path/to/llama-quantize \\
        --judge path/to/llama-perplexity --text stories.txt [TYPE ...]

Needs numpy and gguf 0.19. Two files in F32 are quantized by both programs: `drawn`, weights of
three distributions, and `demo`, the embedded model, whose rows are filled up with zeros to whole
blocks in a way that changes nothing in what it computes. Both results are decoded by the gguf
package; a line says for each type the root mean square error of the whole file relative to the
weights' own, for both; the least, the mean and the greatest ratio of a tensor's errors, ours to
theirs; and for `demo` the mean KL divergence from the F32 file and the perplexity over a text,
both reckoned by the judge, which is llama.cpp's program.
"""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize

TYPES = (
    "Q8_0 Q6_K Q5_K_M Q5_K_S Q5_1 Q5_0 Q4_K_M Q4_K_S Q4_1 Q4_0 IQ4_NL IQ4_XS MXFP4_MOE "
    "Q3_K_L Q3_K_M Q3_K_S Q2_K TQ2_0 TQ1_0 F16 BF16"
).split()
DEMO = Path(__file__).parents[2] / "assets" / "demo.gguf"


def tensors(path):
    """Each tensor's name, and its values in float32."""
    for tensor in GGUFReader(path).tensors:
        shape = [int(extent) for extent in reversed(tensor.shape)]
        values = dequantize(np.asarray(tensor.data), tensor.tensor_type)
        yield tensor.name, values.astype(np.float32).reshape(shape)


def drawn(path):
    """A LLaMA of four layers whose weights are normal, heavy-tailed and uniform."""
    random = np.random.default_rng(5)
    width, hidden, layers = 512, 1024, 4
    writer = GGUFWriter(path, "llama")
    sizes(writer, layers, 64, width, hidden, 8, 4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(1024)

    def tensor(name, rows, columns):
        shape = (rows, columns)
        kind = len(writer.tensors[0]) % 3
        draws = [random.normal(size=shape), random.standard_t(4, shape), random.uniform(-1, 1, shape)]
        writer.add_tensor(name, (0.05 * draws[kind]).astype(np.float32))

    tensor("token_embd.weight", 1024, width)
    tensor("output.weight", 1024, width)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for layer in range(layers):
        part = f"blk.{layer}."
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{part}{name}.weight", np.ones(width, np.float32))
        for name, rows, columns in [
            ("attn_q", width, width),
            ("attn_k", width // 2, width),
            ("attn_v", width // 2, width),
            ("attn_output", width, width),
            ("ffn_gate", hidden, width),
            ("ffn_up", hidden, width),
            ("ffn_down", width, hidden),
        ]:
            tensor(f"{part}{name}.weight", rows, columns)
    finish(writer)


def demo(path):
    """The embedded model in float32, 256 wide instead of 192, with two heads more."""
    read = GGUFReader(DEMO)
    width, heads, kv_heads, dim = 192, 6, 2, 32
    wide, hidden = 256, 512
    writer = GGUFWriter(path, "llama")
    sizes(writer, 4, 384, wide, hidden, 8, kv_heads)
    writer.add_rope_dimension_count(dim)
    # The mean square of a row with its zeros is 192/256 of what it was.
    share = width / wide
    eps = float(read.fields["llama.attention.layer_norm_rms_epsilon"].contents())
    writer.add_layer_norm_rms_eps(eps * share)
    for key in ("tokens", "merges"):
        contents = read.fields[f"tokenizer.ggml.{key}"].contents()
        {"tokens": writer.add_token_list, "merges": writer.add_token_merges}[key](contents)
    writer.add_token_types(read.fields["tokenizer.ggml.token_type"].contents())
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(True)

    def by_heads(rows):
        """A head of zeros behind each three that share keys."""
        groups = rows.reshape(kv_heads, heads // kv_heads * dim, -1)
        return np.pad(groups, ((0, 0), (0, dim), (0, 0))).reshape(8 * dim, -1)

    for name, values in tensors(DEMO):
        part = name.split(".")[-2]
        if part.endswith("norm"):
            values = np.pad(values * np.float32(share**0.5), (0, wide - width))
        elif part == "attn_q":
            values = np.pad(by_heads(values), ((0, 0), (0, wide - width)))
        elif part == "attn_output":
            values = np.pad(by_heads(values.T).T, ((0, wide - width), (0, 0)))
        else:
            rows = {"ffn_gate": hidden, "ffn_up": hidden, "ffn_down": wide}.get(part, len(values))
            columns = hidden if part == "ffn_down" else wide
            values = np.pad(values, ((0, rows - len(values)), (0, columns - values.shape[1])))
        writer.add_tensor(name, np.ascontiguousarray(values))
    finish(writer)


def sizes(writer, layers, context, width, hidden, heads, kv_heads):
    writer.add_block_count(layers)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def errors(original, path):
    """Sums of squared errors by tensor, of those that are quantized, and the type of each."""
    kinds = {tensor.name: tensor.tensor_type for tensor in GGUFReader(path).tensors}
    found = {}
    for name, values in tensors(path):
        if kinds[name] != GGMLQuantizationType.F32:
            difference = values.astype(np.float64) - original[name]
            found[name] = (float((difference**2).sum()), kinds[name].name)
    return found


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr.strip()[-500:]}")
    return done.stdout + done.stderr


def judge(arguments, patterns, *options):
    """What the judge says where the patterns stand; at its end it may swallow some, so again."""
    for _ in range(5):
        said = run(arguments.judge, *options, "-c", 256)
        found = [re.search(pattern, said) for pattern in patterns]
        if all(found):
            return [float(match.group(1)) for match in found]
    raise SystemExit(f"{arguments.judge}: no figures in\n{said}")


def judged(arguments, base, path):
    """Mean KL divergence from the base, and perplexity."""
    patterns = [r"Mean\s+KLD:\s+([-\d.]+)", r"Mean PPL\(Q\)\s+:\s+([\d.]+)"]
    options = ["-m", path, "--kl-divergence", "--kl-divergence-base", base]
    return judge(arguments, patterns, *options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--judge")
    parser.add_argument("--text")
    parser.add_argument("--files", nargs="*", default=["drawn", "demo"])
    parser.add_argument("types", nargs="*", default=TYPES)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for make in (drawn, demo):
            if make.__name__ in arguments.files:
                compare(arguments, make, Path(folder))


def compare(arguments, make, folder):
    original = folder / f"{make.__name__}.gguf"
    make(original)
    values = dict(tensors(original))
    base = folder / "base"
    judging = make is demo and arguments.judge
    print(f"\n| {make.__name__} | error, ours | theirs | tensors: least | mean | most |", end="")
    print(" KL, ours | theirs | perplexity, ours | theirs |" if judging else "")
    print("|---" * (10 if judging else 6) + "|")
    if judging:
        options = ["-m", original, "-f", arguments.text, "--kl-divergence-base", base]
        [perplexity] = judge(arguments, [r"Final estimate: PPL = ([\d.]+)"], *options)
        print(f"| F32 | 0 | 0 | | | | 0 | 0 | {perplexity} | {perplexity} |")
    for kind in arguments.types:
        ours, theirs = folder / "ours.gguf", folder / "theirs.gguf"
        run(arguments.ours, "quantize", original, ours, "--type", kind, "--force")
        run(arguments.peer, original, theirs, kind)
        mine, other = errors(values, ours), errors(values, theirs)
        if {name: kind for name, (_, kind) in mine.items()} != {
            name: kind for name, (_, kind) in other.items()
        }:
            raise SystemExit(f"{make.__name__}: {kind}: tensors differ in type")
        # Where neither loses anything, neither is worse.
        tensors_of_both = [(mine[name][0], other[name][0]) for name in mine]
        ratios = [(a / b) ** 0.5 if b > 0 else float(a == 0) for a, b in tensors_of_both]
        own = sum(float((values[name].astype(np.float64) ** 2).sum()) for name in mine)
        whole = [(sum(e for e, _ in found.values()) / own) ** 0.5 for found in (mine, other)]
        line = f"| {kind} | {100 * whole[0]:.4f}% | {100 * whole[1]:.4f}% "
        line += f"| {min(ratios):.4f} | {sum(ratios) / len(ratios):.4f} | {max(ratios):.4f} |"
        if judging:
            (kl, perplexity), (kl_theirs, perplexity_theirs) = (
                judged(arguments, base, path) for path in (ours, theirs)
            )
            line += f" {kl:.6f} | {kl_theirs:.6f} | {perplexity:.4f} | {perplexity_theirs:.4f} |"
        print(line, flush=True)


if __name__ == "__main__":
    main()
