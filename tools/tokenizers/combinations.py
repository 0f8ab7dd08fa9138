"""Holds random `tokenizer.json` files against the reference: what `tokenizers` makes of nasty texts.

    python tools/tokenizers/combinations.py COUNT [SEED] > combinations.json     # any number
    cargo run -p rillm-formats --example combinations combinations.json          # which differ, and how
    python tools/tokenizers/combinations.py --fixture                            # the committed ones

A file is a combination of normalizers, pre-tokenizers, decoders, post-processors, added tokens and
options of a model. Needs tokenizers 0.22 or 0.23.
"""

import json
import random
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

FIXTURE = Path(__file__).resolve().parents[2] / "formats/tests/data/tokenizer/combinations.json"

CORPUS = """The old lighthouse keeper lit the lamp at dusk and wrote down the weather: wind from
the west, light rain, 12 degrees. He'd seen 3 ships that day; they'd all gone by. It's the quiet
ones that I'll remember, he said. In the morning the sea was flat, 365 lamps since 1822. über dem
Meer, la mer éclaire. Маяк стоит над морем. 灯台は海の上に立っている。""".splitlines()

TEXTS = [
    "",
    " ",
    "   ",
    "\n",
    "the",
    " the lamp",
    "The Lamp  is lit.",
    "a\tb\r\n c\n\n  d ",
    "ü",
    "über, ÉCLAIRE e\u0301a n\u0303",
    " ४५ ٣٤٥ 12 1234567 ½² Ⅷ",
    "It's they'd I'll don't 'tis",
    "x<s>the</s> <unk> <s> </s>x",
    "lamp<tool>the <tool> x<word>y <word> z",
    "THE [MASK] light[MASK]ly",
    "灯台は海、カタカナー한국어",
    "👩\u200d👩\u200d👧 👍🏽 🏳️\u200d🌈",
    "a\u0000b\u0007c\u200bd\u00a0e\u3000f\ufeff",
    "▁ ▁▁ a▁b Ġx </w> ##ing",
    "!?... -- '' “q” $1.50 (a)[b]{c} a_b",
    "ﬁ ｆｕｌｌ ﷺ ﬀ ℌ ①",
    "Маяк стоит MAЯК",
    "zzzzzzzzzzzzzzzzzzzzz",
    "x  \u2028y\u0085z",
    "keeperslighthouse weather: 12degrees",
    "the\nlamp $end\n \n",
    "<0x41><0x0A>",
    "ⅷ ㎏ ａ ĳ ǅ İI ßẞ ſ K",
]

WORDS = """the lamp is lit light ing ly house keep er wind weather The a b c d e f x y z degrees
12 3 s t ' . , ! ? - ( ) [ ] MASK ü über und la mer""".split()


def bpe(pre_tokenizer, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizer
    more = {key: options[key] for key in ("continuing_subword_prefix", "end_of_word_suffix") if options.get(key)}
    alphabet = [] if more or options else pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=420 if alphabet else 260, special_tokens=special, initial_alphabet=alphabet, show_progress=False, **more
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return json.loads(tokenizer.to_str())["model"]


def all_models():
    bytes_ = bpe(pre_tokenizers.ByteLevel(add_prefix_space=False))
    holes = json.loads(json.dumps(bytes_))
    for character in "ĀāqZ":
        del holes["vocab"][character]
    signs = bpe(pre_tokenizers.Metaspace(), unk_token="<unk>")
    fallback = json.loads(json.dumps(signs))
    start = len(fallback["vocab"])
    fallback["vocab"] |= {f"<0x{byte:02X}>": start + byte for byte in range(256)}
    fallback["byte_fallback"] = True
    ends = bpe(pre_tokenizers.Whitespace(), unk_token="<unk>", end_of_word_suffix="</w>")
    goes_on = bpe(pre_tokenizers.Whitespace(), unk_token="<unk>", continuing_subword_prefix="##")
    pieces = ["<unk>", "<s>", "</s>", "▁", "▁the", "▁la", "mp", "ing", "▁light", "house"]
    pieces += sorted(set("".join(CORPUS)) - {" "})
    scores = [[piece, -0.5 * index if index > 2 else 0.0] for index, piece in enumerate(pieces)]
    unigram = {"type": "Unigram", "unk_id": 0, "byte_fallback": False, "vocab": scores}
    byte_pieces = [[f"<0x{byte:02X}>", -80.0] for byte in range(256)]
    unigram_bytes = {**unigram, "byte_fallback": True, "vocab": scores + byte_pieces}
    subwords = ["[UNK]", "<s>", "</s>", *WORDS, *("##" + word for word in WORDS), "##", "#"]
    word_piece = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 12,
        "vocab": {word: index for index, word in enumerate(dict.fromkeys(subwords))},
    }
    words = {word: index for index, word in enumerate(dict.fromkeys(["<unk>", "<s>", "</s>", *WORDS, "Ġthe", "▁the"]))}
    word_level = {"type": "WordLevel", "unk_token": "<unk>", "vocab": words}
    return {
        "bytes": bytes_,
        "holes": holes,
        "signs": signs,
        "fallback": fallback,
        "ends": ends,
        "goes_on": goes_on,
        "unigram": unigram,
        "unigram_bytes": unigram_bytes,
        "word_piece": word_piece,
        "word_level": word_level,
    }


REGEXES = [
    r"[0-9][0-9][0-9]",
    r"\s+",
    r"\p{N}{1,3}",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"\w+|[^\w\s]+",
    r"(?<=[a-z])(?=[A-Z])",
    r"(?<!\p{L})t",
    r"\b",
    r"[^\S\n]+$",
    r"^.",
    r"[aeiou]+?",
    r"(?>a|ab)c?|x*+y",
    r"(?:the|lamp)s?\b",
    r"\d+(?=\D)",
    r"[\p{Han}\p{Hiragana}\p{Katakana}ー]+",
    r"[[:punct:]]|[[:space:]]",
    r"[a-z&&[^aeiou]]+",
    r"(?i)THE",
    r"\p{Lu}?\p{Ll}+|\P{L}",
    r"l(?:i|a)(?!g).",
    r"(e|t){2,3}",
    r"\A\s|\s\z",
    r"",
    r"a{0,2}",
]
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def pattern(pick):
    if pick.random() < 0.6:
        return {"Regex": pick.choice(REGEXES)}
    return {"String": pick.choice([" ", "a", "th", "  ", "\n", "ü", "▁", "Ġ", "e"])}


def normalizer(pick):
    return pick.choice(
        [
            lambda: {"type": "NFC"},
            lambda: {"type": "NFD"},
            lambda: {"type": "NFKC"},
            lambda: {"type": "NFKD"},
            lambda: {"type": "Lowercase"},
            lambda: {"type": "StripAccents"},
            lambda: {"type": "Nmt"},
            lambda: {"type": "ByteLevel"},
            lambda: {"type": "Strip", "strip_left": pick.random() < 0.5, "strip_right": pick.random() < 0.5},
            lambda: {"type": "Prepend", "prepend": pick.choice(["▁", " ", "ab"])},
            lambda: {"type": "Replace", "pattern": pattern(pick), "content": pick.choice(["▁", "", " ", "aa", "ü"])},
            lambda: {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            lambda: {
                "type": "BertNormalizer",
                "clean_text": pick.random() < 0.7,
                "handle_chinese_chars": pick.random() < 0.7,
                "strip_accents": pick.choice([None, True, False]),
                "lowercase": pick.random() < 0.7,
            },
        ]
    )()


def byte_level(pick):
    return {
        "type": "ByteLevel",
        "add_prefix_space": pick.random() < 0.4,
        "trim_offsets": True,
        "use_regex": pick.random() < 0.6,
    }


def metaspace(pick):
    return {
        "type": "Metaspace",
        "replacement": pick.choice(["▁", "▁", "_"]),
        "prepend_scheme": pick.choice(["always", "never", "first"]),
        "split": pick.random() < 0.6,
    }


def pre_tokenizer(pick):
    return pick.choice(
        [
            lambda: byte_level(pick),
            lambda: byte_level(pick),
            lambda: metaspace(pick),
            lambda: {"type": "Digits", "individual_digits": pick.random() < 0.5},
            lambda: {"type": "Punctuation", "behavior": pick.choice(BEHAVIORS)},
            lambda: {"type": "Whitespace"},
            lambda: {"type": "WhitespaceSplit"},
            lambda: {"type": "BertPreTokenizer"},
            lambda: {"type": "UnicodeScripts"},
            lambda: {"type": "CharDelimiterSplit", "delimiter": pick.choice([" ", "a", "Ġ", "▁"])},
            lambda: {"type": "FixedLength", "length": pick.choice([1, 2, 5])},
            lambda: {
                "type": "Split",
                "pattern": pattern(pick),
                "behavior": pick.choice(BEHAVIORS),
                "invert": pick.random() < 0.3,
            },
        ]
    )()


DECODERS = [
    [],
    [{"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}],
    [{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}],
    [{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}],
    [{"type": "WordPiece", "prefix": "##", "cleanup": True}],
    [{"type": "WordPiece", "prefix": "##", "cleanup": False}],
    [{"type": "BPEDecoder", "suffix": "</w>"}],
    [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ],
    [{"type": "Fuse"}, {"type": "Strip", "content": "e", "start": 0, "stop": 1}],
    [{"type": "ByteFallback"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}],
    [{"type": "Replace", "pattern": {"Regex": "[aeiou]+"}, "content": "*"}, {"type": "Fuse"}],
]


def sequence(kind, key, parts):
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else {"type": kind, key: parts}


def added_tokens(pick, vocabulary):
    names = ["<s>", "</s>"]
    names += pick.sample(["<tool>", "<word>", "[MASK]", "the", "lamp", "<unk>", "é", "  "], pick.choice([0, 1, 3]))
    next_id, tokens = 1 + max(vocabulary.values()), []
    for name in dict.fromkeys(names):
        token_id = vocabulary.get(name)
        if token_id is None:
            token_id, next_id = next_id, next_id + 1
        flags = pick.random() < 0.4
        tokens.append(
            {
                "id": token_id,
                "content": name,
                "single_word": flags and pick.random() < 0.4,
                "lstrip": flags and pick.random() < 0.4,
                "rstrip": flags and pick.random() < 0.4,
                "normalized": pick.random() < 0.3,
                "special": name in ("<s>", "</s>") or pick.random() < 0.5,
            }
        )
    return sorted(tokens, key=lambda token: token["id"])


def post_processor(pick, tokens):
    ids = {token["content"]: token["id"] for token in tokens}
    first, last = ["<s>", ids["<s>"]], ["</s>", ids["</s>"]]
    item = lambda name: {"SpecialToken": {"id": name, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    special = {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in ("<s>", "</s>")}
    single = pick.choice([[item("<s>"), text], [text, item("</s>")], [item("<s>"), text, item("</s>"), item("</s>")]])
    template = {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": special,
    }
    roberta = {"type": "RobertaProcessing", "sep": last, "cls": first, "trim_offsets": True, "add_prefix_space": False}
    plain = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    return pick.choice(
        [
            None,
            plain,
            template,
            roberta,
            {"type": "BertProcessing", "sep": last, "cls": first},
            {"type": "Sequence", "processors": [plain, template]},
        ]
    )


def combination(pick, models_):
    name = pick.choice(list(models_))
    model = models_[name]
    options = {}
    if model["type"] == "BPE":
        options["ignore_merges"] = pick.random() < 0.2
        options["fuse_unk"] = pick.random() < 0.4
        if name not in ("bytes", "holes"):
            options["unk_token"] = pick.choice(["<unk>", "<unk>", None])
        else:
            options["unk_token"] = pick.choice([None, None, "<unk>"])
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        vocabulary = {piece: index for index, (piece, _) in enumerate(vocabulary)}
    tokens = added_tokens(pick, vocabulary)
    return {
        "model": name,
        "options": options,
        "added_tokens": tokens,
        "normalizer": sequence("Sequence", "normalizers", [normalizer(pick) for _ in range(pick.choice([0, 0, 1, 2, 3]))]),
        "pre_tokenizer": sequence(
            "Sequence", "pretokenizers", [pre_tokenizer(pick) for _ in range(pick.choice([0, 1, 1, 2, 3, 4]))]
        ),
        "post_processor": post_processor(pick, tokens),
        "decoder": sequence("Sequence", "decoders", pick.choice(DECODERS)),
    }


def expected(combination, models_):
    """Of each text: ids of plain text, ids where control tokens count, those with the template
    around, and the second as text. None where this project means to differ."""
    parts = {key: combination[key] for key in ("added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder")}
    whole = {"version": "1.0", "truncation": None, "padding": None, **parts, "model": models_[combination["model"]] | combination["options"]}
    tokenizer = Tokenizer.from_str(json.dumps(whole))
    start = next(token["id"] for token in combination["added_tokens"] if token["content"] == "<s>")
    special = {token["id"] for token in combination["added_tokens"] if token["special"]}
    # Versions of the reference differ in how they write tokens that are normalized.
    renamed = {token["id"] for token in combination["added_tokens"] if token["normalized"] and combination["normalizer"]}
    found = []
    for index in combination["texts"]:
        text = TEXTS[index]
        tokenizer.encode_special_tokens = True
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        # Here no text makes control tokens unless it is asked for, but masks.
        plain = None if special & set(plain) or "[MASK]" in text else plain
        tokenizer.encode_special_tokens = False
        body = tokenizer.encode(text, add_special_tokens=False).ids
        around = tokenizer.encode(text, add_special_tokens=True).ids
        # A first token that the text has is not doubled here.
        around = None if body[:1] == [start] else around
        back = tokenizer.decode(body, skip_special_tokens=False)
        back = None if renamed & set(body) else back
        found.append([plain, body, around, back])
    return found


def generate(count, seed, models_, most_texts=len(TEXTS)):
    pick, combinations, refused = random.Random(seed), [], 0
    while len(combinations) < count:
        candidate = combination(pick, models_)
        candidate["texts"] = sorted(pick.sample(range(len(TEXTS)), most_texts))
        try:
            candidate["expected"] = expected(candidate, models_)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            refused += 1
            continue
        combinations.append(candidate)
    print(f"{refused} that the reference refuses or panics at", file=sys.stderr)
    return {"models": models_, "texts": TEXTS, "combinations": combinations}


def beginnings(models_):
    """Steps that take the first character apart, and what is put before each part that begins where it did."""
    mapped = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    first = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    prepend = {"type": "Prepend", "prepend": " "}
    token = {"id": 0, "content": "<s>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    several = lambda *steps: {"type": "Sequence", "normalizers": [step if isinstance(step, dict) else {"type": step} for step in steps]}
    without = lambda text, content="": {"type": "Replace", "pattern": {"Regex": text}, "content": content}
    strip = {"type": "Strip", "strip_left": True, "strip_right": False}
    for steps, before in [
        ([mapped, mapped, first], None),
        ([mapped, first], None),
        ([mapped, {"type": "FixedLength", "length": 1}, mapped, first], None),
        ([mapped, {"type": "BertPreTokenizer"}, first, mapped], prepend),
        ([{"type": "Whitespace"}, mapped, first], {"type": "ByteLevel"}),
        # What is left out at the beginning, put together again, or found across its end.
        ([first], without("^(th|ü|x|.)")),
        ([first], without("th", "aa")),
        ([first], several("NFD", "NFC")),
        ([first], several("NFD", "NFKC", "Lowercase")),
        ([first], several("NFKD", "StripAccents", strip)),
        ([first, {"type": "FixedLength", "length": 1}, first], several("NFD", prepend)),
        ([{"type": "FixedLength", "length": 1}, first], several("NFKC", without(". ", "the"))),
    ]:
        chosen = {
            "model": "unigram",
            "options": {},
            "added_tokens": [token | {"id": models_["unigram"]["vocab"].index(["<s>", 0.0])}],
            "normalizer": before,
            "pre_tokenizer": sequence("Sequence", "pretokenizers", steps),
            "post_processor": None,
            "decoder": None,
            "texts": [2, 4, 5, 8, 9, 12, 19, 20],
        }
        yield chosen | {"expected": expected(chosen, models_)}


if __name__ == "__main__":
    if sys.argv[1] == "--fixture":
        # No two trainings are alike: those that were trained stay.
        known = json.loads(FIXTURE.read_text())["models"] if FIXTURE.exists() else all_models()
        file = generate(90, 7, known, 9)
        file["combinations"].extend(beginnings(known))
        FIXTURE.write_text(json.dumps(file, ensure_ascii=False, separators=(",", ":")) + "\n")
    else:
        count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
        json.dump(generate(count, seed, all_models()), sys.stdout)
