"""Writes tests/data/generation_folders.json: what transformers' `generate` writes with folders that say how
texts are written in one file, in the other, in both, in part or not at all, each class with each: where its
text begins, which tokens are forced, how it is searched for. By transformers 5.24.0, which takes nothing
of it from a class.

    python tools/generation/folders.py tests/data/generation_folders.json
"""

import json
import sys
import tempfile
import warnings
from pathlib import Path

import torch
import transformers

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "fixtures"))
import fixture  # noqa: E402

FIXTURES = HERE.parents[1] / "tests" / "data" / "fixtures"
SOURCE = [7, 46, 21, 8, 33, 19]
LENGTH = {"max_length": 8}
# Not the classes' own, which are 0, 1 and 2.
BEGIN, END, START, FIRST, LAST = 3, 5, 6, 17, 9
TOKENS = {"bos_token_id": BEGIN, "eos_token_id": END, "pad_token_id": 4}
STARTS = TOKENS | {"decoder_start_token_id": START}
FORCED = {"forced_bos_token_id": FIRST, "forced_eos_token_id": LAST}
SEARCH = {"num_beams": 3, "early_stopping": True, "length_penalty": 2.0, "no_repeat_ngram_size": 1}
# What config.json and generation_config.json say; None, where there is none of the latter.
FOLDERS = [
    (STARTS | LENGTH, None),
    (STARTS | LENGTH | {"forced_bos_token_id": None, "forced_eos_token_id": None}, None),
    (STARTS | LENGTH | FORCED, None),
    (STARTS | LENGTH | {"forced_eos_token_id": [LAST, 12]}, None),
    (STARTS | LENGTH | {"force_bos_token_to_be_generated": True}, None),
    (STARTS | LENGTH | FORCED | {"force_bos_token_to_be_generated": True}, None),
    (STARTS | LENGTH | {"force_bos_token_to_be_generated": False}, None),
    (STARTS | LENGTH | FORCED | SEARCH, None),
    (STARTS | LENGTH | SEARCH, None),
    (TOKENS | LENGTH, None),
    (STARTS | FORCED | SEARCH, TOKENS | LENGTH | {"decoder_start_token_id": START + 1}),
    (STARTS | FORCED, TOKENS | LENGTH | {"bos_token_id": BEGIN + 7}),
    (STARTS | {"force_bos_token_to_be_generated": True}, STARTS | LENGTH),
    (TOKENS, STARTS | LENGTH | FORCED),
    (STARTS | LENGTH, STARTS | SEARCH | {"max_length": 6, "forced_eos_token_id": LAST}),
]
# Not those whose experts take but so many rows of a call, as which the reference runs whole texts here.
CLASSES = [
    "bart", "mbart", "marian", "m2m_100", "pegasus", "bigbird_pegasus", "blenderbot",
    "blenderbot_small", "led", "t5", "mt5", "umt5", "longt5", "t5gemma",
]
SAID = {key for said, _ in FOLDERS for key in said}


def main(path):
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    # PyTorch without CUDA, of which transformers 5 asks this nevertheless.
    torch.cuda.is_current_stream_capturing = lambda: False
    lines = []
    for name in CLASSES:
        for said, generation in FOLDERS:
            written = writes(name, said, generation)
            case = {"fixture": name, "said": said, "generation": generation, "source": SOURCE}
            lines.append(json.dumps(case | {"end": END, "written": written}, separators=(",", ":")))
            print(name, said, generation, written)
    Path(path).write_text("[\n" + ",\n".join(lines) + "\n]\n")


def writes(name, said, generation):
    """The tokens behind the one that the text begins from, up to its end."""
    config = json.loads((FIXTURES / name / "config.json").read_text())
    config = {key: value for key, value in config.items() if key not in SAID} | said
    entry = json.loads((FIXTURES / name / "weights.json").read_text())
    kind = getattr(transformers, config["architectures"][0])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        if generation is not None:
            (Path(folder) / "generation_config.json").write_text(json.dumps(generation))
        fixture.write_weights(folder, entry["seed"], entry["tensors"])
        model = kind.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
        others = {}
        if name == "led":
            # As its authors advise.
            others["global_attention_mask"] = (torch.arange(len(SOURCE)) == 0).long()[None]
        ids = torch.tensor([SOURCE])
        # Its cache takes the decoder for as deep as the encoder.
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), use_cache=False, **others
        )
    row = out[0, 1:].tolist()
    return row[: row.index(END)] if END in row else row


main(*sys.argv[1:])
