"""Writes formats/tests/data/tokenizer/settings.json: folders whose small files change what their
`tokenizer.json` says, and what transformers makes of texts there.

    python tools/tokenizers/settings.py             # with transformers 5
    python tools/tokenizers/settings.py --check     # with transformers 4: the same of every folder

Only what both do is in it. Needs what `combinations.py` needs.
"""

import copy
import json
import sys
import tempfile
from pathlib import Path

import combinations
from transformers import AutoTokenizer

OUT = Path(__file__).resolve().parents[2] / "formats/tests/data/tokenizer/settings.json"
TEXTS = ["The Lamp É 灯台", "the lamp", " the lamp", "the<NEW>lamp", "the <NEW> lamp", "l<mask>t [MASK] a", "th", "a <unk>  </s> b"]
NAMES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
ANY = "PreTrainedTokenizerFast"


def token(name, **flags):
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"content": name} | plain | flags


def template(vocabulary, before, after):
    name = lambda name: {"SpecialToken": {"id": name, "type_id": 0}}
    text = lambda name, kind: {"Sequence": {"id": name, "type_id": kind}}
    special = {name: {"id": name, "ids": [vocabulary[name]], "tokens": [name]} for name in before + after}
    single = [*map(name, before), text("A", 0), *map(name, after)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, text("B", 1)],
        "special_tokens": special,
    }


def tokenizer(model, special, **parts):
    added = [token(name, special=True) | {"id": model["vocab"][name]} for name in special]
    empty = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    return {"version": "1.0", "added_tokens": added} | empty | parts | {"model": model}


def byte_level(space=False, before=(), after=()):
    model = copy.deepcopy(BYTES)
    bytes_ = {"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": True, "use_regex": True}
    processor = template(model["vocab"], list(before), list(after)) if before or after else None
    special = ["<s>", "</s>", "<unk>"]
    return tokenizer(model, special, pre_tokenizer=bytes_, decoder=bytes_, post_processor=processor)


def bert(lowercase, **keys):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *combinations.WORDS, *("##" + word for word in combinations.WORDS), "Lamp", "É", "e", "é", "灯", "台", "灯台"]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(words))}
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None}
    return tokenizer(
        model | {"max_input_chars_per_word": 100, "vocab": vocabulary},
        special,
        normalizer=normalizer | {"lowercase": lowercase} | keys,
        pre_tokenizer={"type": "BertPreTokenizer"},
        post_processor=template(vocabulary, ["[CLS]"], ["[SEP]"]),
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
    )


BYTES = combinations.bpe(combinations.pre_tokenizers.ByteLevel(add_prefix_space=False))


def normalized():
    classes = ["Bert", "DistilBert", "Electra", "LayoutLM", "Lxmert", "MobileBert", "SqueezeBert"]
    both = {"do_lower_case": True, "strip_accents": False}
    for name in classes:
        config = {"tokenizer_class": f"{name}Tokenizer"}
        yield f"{name} with case", name.lower(), bert(True), config | {"do_lower_case": False}, {}
        yield f"{name} with accents", name.lower(), bert(False), config | both, {}
        yield f"{name} by itself", name.lower(), bert(False), config, {}
        yield f"{name} by its model", name.lower(), bert(False, strip_accents=True), {}, {}
    config = {"tokenizer_class": "BertTokenizerFast", "tokenize_chinese_chars": False}
    yield "Bert with Chinese", "bert", bert(True), config, {}
    yield "any with case", "bert", bert(True), {"tokenizer_class": ANY, "do_lower_case": False}, {}


def prefixed():
    classes = {"GPT2": "gpt2", "Bart": "bart", "Longformer": "longformer", "LED": "led", "Mvp": "mvp"}
    classes |= {"Roberta": "roberta", "CodeGen": "codegen", "GPTNeoX": "gpt_neox", "Cohere": "cohere"}
    for name, model in classes.items():
        around = (["<s>"], ["</s>"]) if name in ("Roberta", "Bart", "Longformer", "LED", "Mvp") else ((), ())
        config = NAMES | {"tokenizer_class": f"{name}Tokenizer", "pad_token": "<unk>", "mask_token": "<unk>"}
        config |= {"cls_token": "<s>", "sep_token": "</s>"}
        if name == "Cohere":
            config |= {"add_bos_token": False}
        yield f"{name} with a space", model, byte_level(False, *around), config | {"add_prefix_space": True}, {}
        yield f"{name} without", model, byte_level(True, *around), config, {}
    for model in ("gpt2", "opt", "bart", "roberta", "codegen"):
        config = NAMES | {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<unk>", "mask_token": "<unk>"}
        yield f"{model} by its model", model, byte_level(True, ["<s>"], ["</s>"]), config, {}


def surrounded():
    keys = [{"add_bos_token": True}, {"add_bos_token": False}, {"add_eos_token": True}]
    for name, model in ((ANY, "llama"), ("GPT2Tokenizer", "gpt2"), ("Qwen2Tokenizer", "qwen2"), ("BloomTokenizerFast", "bloom")):
        config = NAMES | {"tokenizer_class": name, "pad_token": "<unk>"}
        for key in keys:
            yield f"{name} {key}", model, byte_level(), config | key, {}
            yield f"{name} begins {key}", model, byte_level(False, ["<s>"]), config | key, {}


def named():
    config = {"tokenizer_class": ANY}
    size = len(BYTES["vocab"])
    typed = {"__type": "AddedToken"}
    listed = lambda id, **flags: {"added_tokens_decoder": {str(id): token("<NEW>", **flags)}}
    file = lambda name, content: {name: json.dumps(content)}
    special = {"special": True}
    other_flags = lambda **flags: {
        str(BYTES["vocab"][name]): token(name, **(special | flags)) for name in ("<unk>", "</s>")
    }
    first = {"added_tokens_decoder": {"0": token("<s>", special=True)}}
    both = file("added_tokens.json", {"<NEW>": size + 1, "<mask>": size})
    folders = {
        "additional": ({"additional_special_tokens": ["<mask>", "<NEW>"], "pad_token": "[MASK]"}, {}),
        "additional with flags": (
            {"additional_special_tokens": [token("<NEW>", lstrip=True, rstrip=True, special=True) | typed]},
            {},
        ),
        "extra": ({"extra_special_tokens": {"image_token": "<NEW>"}, "pad_token": "<mask>"}, {}),
        "pad": ({"pad_token": "<NEW>"}, {}),
        "roles in any order": ({"mask_token": "<mask>", "cls_token": "[MASK]", "pad_token": "<NEW>"}, {}),
        "mask with flags": ({"mask_token": token("<NEW>", lstrip=True) | typed}, {}),
        "a word of the vocabulary": ({"pad_token": "th"}, {}),
        "map": ({}, file("special_tokens_map.json", {"pad_token": "<NEW>"})),
        "map with flags": ({}, file("special_tokens_map.json", {"mask_token": token("<NEW>", lstrip=True)})),
        "map over configuration": ({"pad_token": "<mask>"}, file("special_tokens_map.json", {"pad_token": "<NEW>"})),
        "map beside a list": ({"pad_token": "<mask>"} | first, file("special_tokens_map.json", {"pad_token": "<NEW>"})),
        "added": ({}, file("added_tokens.json", {"<NEW>": size})),
        "added far away": ({}, file("added_tokens.json", {"<NEW>": size + 5})),
        "added and named": ({"pad_token": "<NEW>"}, both),
        "added beside a list": (first, both),
        "listed": (listed(size, special=True), {}),
        "listed far away": (listed(size + 3, special=True), {}),
        "listed with flags": (listed(size, special=False, lstrip=True, rstrip=True), {}),
        "listed and named": (listed(size, special=True) | {"additional_special_tokens": ["<mask>"]}, {}),
        "listed with other flags": ({"added_tokens_decoder": other_flags(lstrip=True)}, {}),
        "listed with others to the right": ({"added_tokens_decoder": other_flags(rstrip=True)}, {}),
        "listed as words": ({"added_tokens_decoder": other_flags(single_word=True)}, {}),
        "listed as not special": ({"added_tokens_decoder": other_flags(special=False)}, {}),
        "special tokens as text": ({"split_special_tokens": True, "pad_token": "<NEW>"}, {}),
        "what changes nothing": ({"clean_up_tokenization_spaces": True, "model_max_length": 1}, {}),
    }
    for name, (keys, files) in folders.items():
        yield name, "llama", byte_level(), config | keys, files


def main():
    found, jsons = {}, {}
    for name, model, tokenizer_json, config, files in (*normalized(), *prefixed(), *surrounded(), *named()):
        # Long, and the same in many folders.
        text = json.dumps(tokenizer_json, ensure_ascii=False)
        key = next((key for key, other in jsons.items() if other == text), f"tokenizer {len(jsons)}")
        jsons[key] = text
        files = {"tokenizer.json": text, "config.json": json.dumps({"model_type": model})} | files
        if config:
            files["tokenizer_config.json"] = json.dumps(config)
        with tempfile.TemporaryDirectory() as folder:
            for file, text in files.items():
                (Path(folder) / file).write_text(text)
            reference = AutoTokenizer.from_pretrained(folder)
            expected = [reference(text)["input_ids"] for text in TEXTS]
        found[name] = {"files": files | {"tokenizer.json": key}, "ids": expected}
    data = {"texts": TEXTS, "folders": found, "tokenizers": {key: json.loads(text) for key, text in jsons.items()}}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"
    if "--check" not in sys.argv:
        OUT.write_text(text)
        return
    other = json.loads(OUT.read_text())["folders"]
    differ = [name for name in found if found[name] != other.get(name)]
    sys.exit(f"differ: {differ}" if differ else None)


if __name__ == "__main__":
    main()
