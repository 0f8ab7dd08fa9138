"""Writes tests/data/warpers.json: which tokens transformers' `generate` draws from under settings of its
configuration, and how likely each is. By transformers 5.24.0.

    python tools/generation/warpers.py tests/data/warpers.json
"""

import json
import sys
from pathlib import Path

import torch
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

SETTINGS = [
    {},
    {"temperature": 0.7},
    {"temperature": 1.9, "top_k": 0},
    {"top_k": 5},
    {"top_k": 0, "top_p": 0.8},
    {"top_k": 0, "top_p": 0.05},
    {"top_k": 0, "min_p": 0.1},
    {"top_k": 0, "min_p": 0.6, "temperature": 2.5},
    {"top_k": 0, "typical_p": 0.4},
    {"top_k": 0, "typical_p": 0.95, "temperature": 1.4},
    {"top_k": 20, "top_p": 0.9, "min_p": 0.02, "typical_p": 0.9, "temperature": 0.8},
    {"top_k": 9, "top_p": 0.6, "temperature": 3.0},
]


def main(path):
    torch.manual_seed(5)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=8, n_layer=1, n_head=1))
    cases = []
    for settings in SETTINGS:
        for scale in (1.0, 4.0):
            scores = (torch.randn(1, 64) * scale).round(decimals=3)
            # What `generate` takes where a file does not say it.
            config = GenerationConfig(do_sample=True, **({"top_k": 50} | settings))
            warpers = model._get_logits_processor(config)
            left = warpers(torch.tensor([[0]]), scores.clone())[0]
            tokens = [token for token, score in enumerate(left.tolist()) if score > float("-inf")]
            shares = left.double().softmax(-1)[tokens]
            case = {"settings": settings, "scores": [round(x, 3) for x in scores[0].tolist()]}
            cases.append(case | {"tokens": tokens, "shares": [float(f"{x:.6g}") for x in shares.tolist()]})
    lines = [json.dumps(case, separators=(",", ":")) for case in cases]
    Path(path).write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
