"""Writes formats/tests/data/tokenizer/slow.json: folders that have a vocabulary and no
`tokenizer.json`, and what transformers makes of texts there.

    python tools/tokenizers/slow.py

Needs transformers 5 and what `combinations.py` needs; and once more transformers 4.57, which makes those of
RoBERTa and Blenderbot alone: version 5 forgets that their mask takes the space before it and that Blenderbot ends
a text, as their published tokenizer.json says.
"""

import json
import tempfile
from pathlib import Path

import combinations
import transformers
from transformers import AutoTokenizer

OF_VERSION_4 = {"roberta", "bart", "blenderbot"}
OUT = Path(__file__).resolve().parents[2] / "formats/tests/data/tokenizer/slow.json"
TEXTS = [
    text
    for text in combinations.TEXTS
    if not any(name in text for name in ("<s>", "<unk>", "<tool>", "<0x"))
] + ["<|endoftext|>", "a <|im_end|> b", "light[MASK] lamp", "the <mask> lamp"]


def byte_vocabulary(*special):
    model = combinations.bpe(combinations.pre_tokenizers.ByteLevel(add_prefix_space=False))
    names = [*special, *(name for name in model["vocab"] if name not in ("<s>", "</s>", "<unk>"))]
    merges = "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in model["merges"])
    return {"vocab.json": json.dumps({name: index for index, name in enumerate(names)}), "merges.txt": merges}


def word_vocabulary(*special):
    model = combinations.all_models()["ends"]
    names = [*special, *(name for name in model["vocab"] if name not in ("<s>", "</s>", "<unk>"))]
    merges = "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in model["merges"])
    return {"vocab.json": json.dumps({name: index for index, name in enumerate(names)}), "merges.txt": merges}


def folders():
    gpt2 = byte_vocabulary("<|endoftext|>")
    roberta = byte_vocabulary("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    subwords = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *combinations.WORDS, *("##" + word for word in combinations.WORDS)]
    bert = {"vocab.txt": "".join(f"{word}\n" for word in dict.fromkeys(subwords))}
    deberta = byte_vocabulary("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
    mpnet = {"vocab.txt": "<s>\n<pad>\n</s>\n[UNK]\n<mask>\n" + bert["vocab.txt"].partition("[MASK]\n")[2]}
    config = lambda **keys: {"tokenizer_config.json": json.dumps(keys)}
    size = len(json.loads(gpt2["vocab.json"]))
    added = {"added_tokens.json": json.dumps({"<|im_end|>": size})}
    return {
        "gpt2": gpt2 | {"config.json": '{"model_type": "gpt2"}'},
        "gpt2 that begins": gpt2 | config(tokenizer_class="GPT2Tokenizer", add_bos_token=True),
        "gpt2 with a space": gpt2 | config(tokenizer_class="GPT2Tokenizer", add_prefix_space=True),
        "qwen2": gpt2 | added | config(tokenizer_class="Qwen2Tokenizer", eos_token="<|endoftext|>"),
        "roberta": roberta | config(tokenizer_class="RobertaTokenizer"),
        "bart": roberta | {"config.json": '{"model_type": "bart"}'},
        "bert": bert | {"config.json": '{"model_type": "bert"}'},
        "bert with case": bert | config(tokenizer_class="BertTokenizer", do_lower_case=False),
        "bert with accents": bert
        | config(tokenizer_class="BertTokenizer", strip_accents=False, tokenize_chinese_chars=False),
        "distilbert": bert | config(tokenizer_class="DistilBertTokenizer"),
        "gpt-neox": gpt2 | {"config.json": '{"model_type": "gpt_neox"}'},
        "mamba": gpt2 | {"config.json": '{"model_type": "mamba"}'},
        "deberta": deberta | {"config.json": '{"model_type": "deberta"}'},
        "deberta with a space": deberta | config(tokenizer_class="DebertaTokenizer", add_prefix_space=True),
        "megatron-bert": bert | {"config.json": '{"model_type": "megatron-bert"}'},
        "mpnet": mpnet | {"config.json": '{"model_type": "mpnet"}'},
        "blenderbot": roberta | config(tokenizer_class="BlenderbotTokenizer", add_prefix_space=True),
        "herbert": word_vocabulary("<s>", "<pad>", "</s>", "<unk>", "<mask>") | config(tokenizer_class="HerbertTokenizer"),
        "mpnet with case": mpnet | config(tokenizer_class="MPNetTokenizer", do_lower_case=False),
    }


def main():
    kept = json.loads(OUT.read_text())["folders"]
    found = {}
    for name, files in folders().items():
        # No two trainings are alike: those that were trained stay.
        files = kept.get(name, {"files": files})["files"]
        if (name in OF_VERSION_4) != transformers.__version__.startswith("4."):
            if name in kept:
                found[name] = kept[name]
            continue
        with tempfile.TemporaryDirectory() as folder:
            for file, text in files.items():
                (Path(folder) / file).write_text(text)
            if "config.json" not in files:
                (Path(folder) / "config.json").write_text('{"model_type": "bert"}')
            tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True)
            backend = tokenizer.backend_tokenizer
            expected = [backend.encode(text, add_special_tokens=True).ids for text in TEXTS]
        found[name] = {"files": files, "ids": expected}
    OUT.write_text(json.dumps({"texts": TEXTS, "folders": found}, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
