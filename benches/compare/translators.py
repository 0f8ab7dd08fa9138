#!/usr/bin/env python3
"""Measures rillm's encoder–decoders beside CTranslate2 and writes a table: the one in docs/encoders.md.

    cargo build --release
    python -m venv v
    v/bin/pip install torch 'transformers<5' ctranslate2    # whose converter reads what transformers 4 saves
    v/bin/python benches/compare/translators.py --work FOLDER

Models have published shapes and random weights; both engines get the same ones. A text of 128 tokens
goes in and 64 tokens come out, one text at a time. CTranslate2 is timed in its process, once loaded;
of rillm, whole commands that write 64 tokens and one token are, whose difference is what 63 tokens
take; the encoder's time, of `rillm bench`, is added.
"""

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path

TOKENS, WRITTEN, TEXTS = 128, 64, 4
TYPES = ["q8_0", "q4_0"]
SHAPES = ["t5-base", "bart-base", "marian"]


def model(name):
    import transformers

    if name == "t5-base":
        shape = {"d_ff": 2048, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
        base = {"d_model": 768, "num_layers": 12, "num_heads": 12, "decoder_start_token_id": 0}
        return transformers.T5ForConditionalGeneration(transformers.T5Config(**shape, **base))
    if name == "bart-base":
        # The converter wants what published configurations say.
        norms = {"normalize_before": False, "normalize_embedding": True}
        ends = {"forced_bos_token_id": None, "forced_eos_token_id": None}
        sides = {f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in
                 (("layers", 6), ("attention_heads", 12), ("ffn_dim", 3072))}
        return transformers.BartForConditionalGeneration(transformers.BartConfig(d_model=768, **norms, **sides, **ends))
    ends = {"pad_token_id": 58100, "decoder_start_token_id": 58100, "eos_token_id": 0, "forced_eos_token_id": None}
    sides = {f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in
             (("layers", 6), ("attention_heads", 8), ("ffn_dim", 2048))}
    return transformers.MarianMTModel(transformers.MarianConfig(
        vocab_size=58101, d_model=512, max_position_embeddings=512, activation_function="swish",
        static_position_embeddings=True, scale_embedding=True, **sides, **ends,
    ))


def make(work, rillm, name):
    """Writes a model in every form, with a tokenizer whose pieces are words."""
    from ctranslate2.converters import TransformersConverter
    import torch

    folder = work / name
    if not folder.exists():
        torch.manual_seed(0)
        made = model(name).eval()
        made.save_pretrained(folder)
        config = made.config
        names = {config.bos_token_id: "<s>", config.eos_token_id: "</s>", config.pad_token_id: "<pad>"}
        vocabulary = {names.get(index, f"t{index}"): index for index in range(config.vocab_size)}
        words = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "t5"}
        tokenizer = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"}, "model": words}
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        classes = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "t5"}
        if "<s>" in vocabulary:
            classes["bos_token"] = "<s>"
        (folder / "tokenizer_config.json").write_text(json.dumps(classes))
    for kind in TYPES:
        subprocess.run([rillm, "quantize", folder, work / f"{name}-{kind}.gguf", "-q", kind, "-f"], check=True, capture_output=True)
    if not (work / f"{name}-ct2").exists():
        TransformersConverter(str(folder)).convert(str(work / f"{name}-ct2"), quantization="int8")


def text(number):
    return [f"t{200 + (number * 131 + at * 37) % 20000}" for at in range(TOKENS - 1)] + ["</s>"]


def peer(work, name, beams, threads):
    import ctranslate2

    translator = ctranslate2.Translator(str(work / f"{name}-ct2"), intra_threads=threads, compute_type="int8")
    lengths = {"min_decoding_length": WRITTEN, "max_decoding_length": WRITTEN}
    texts = [text(number) for number in range(TEXTS)]
    run = lambda some: translator.translate_batch(some, beam_size=beams, max_batch_size=1, **lengths)
    run(texts[:1])
    start = time.perf_counter()
    run(texts)
    return WRITTEN * TEXTS / (time.perf_counter() - start)


def ours(work, rillm, file, beams, threads):
    source = work / "text.txt"
    source.write_text(" ".join(text(0)) + "\n")

    def seconds(tokens):
        words = ["summarize", file, "-f", source, "--num-beams", beams, "-n", tokens, "--min-new-tokens", tokens]
        start = time.perf_counter()
        subprocess.run([str(word) for word in [rillm, *words, "--prefix", "", "-t", threads]], check=True, capture_output=True)
        return time.perf_counter() - start

    median = lambda tokens: statistics.median(seconds(tokens) for _ in range(3))
    each = (median(WRITTEN) - median(1)) / (WRITTEN - 1)
    words = ["bench", file, "-p", TOKENS, "-n", 0, "-r", 3, "-t", threads, "--no-roofline", "--json"]
    read = subprocess.run([str(word) for word in [rillm, *words]], check=True, capture_output=True, text=True)
    return WRITTEN / (each * WRITTEN + TOKENS / json.loads(read.stdout.splitlines()[0])["median"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rillm", default="target/release/rillm", type=Path)
    parser.add_argument("--work", default="target/translators", type=Path, help="where models are kept")
    parser.add_argument("--threads", default=2, type=int)
    parser.add_argument("--rounds", default=3, type=int)
    arguments = parser.parse_args()
    work, rillm, threads = arguments.work, arguments.rillm.resolve(), arguments.threads
    work.mkdir(parents=True, exist_ok=True)
    print("| shape | search | " + " | ".join(TYPES) + " | CTranslate2 | " + " | ".join(f"{kind} to it" for kind in TYPES) + " |")
    print("|:--|:--|" + "--:|" * (2 * len(TYPES) + 1))
    for name in SHAPES:
        make(work, rillm, name)
        for beams in [1, 4]:
            rates = {}
            for _ in range(arguments.rounds):
                rates.setdefault("peer", []).append(peer(work, name, beams, threads))
                for kind in TYPES:
                    rates.setdefault(kind, []).append(ours(work, rillm, work / f"{name}-{kind}.gguf", beams, threads))
            median = {key: statistics.median(values) for key, values in rates.items()}
            cells = [f"{median[kind]:.0f}" for kind in TYPES] + [f"{median['peer']:.0f}"]
            cells += [f"**{median[kind] / median['peer']:.1f}**" for kind in TYPES]
            search = "greedy" if beams == 1 else f"{beams} beams"
            print(f"| {name} | {search} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
