"""Writes the tokenizer fixtures under formats/tests/data/tokenizer and the fuzzers' seeds.

Tiny vocabularies are trained on the text below, and what the reference libraries make of
nasty strings is recorded beside them. Needs tokenizers 0.22, sentencepiece 0.2 and
transformers 4.57 (for the conversion of a SentencePiece model); run from anywhere:

    python tools/tokenizers/make.py
"""

import io
import json
import random
import tempfile
from pathlib import Path

import sentencepiece
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import LlamaTokenizerFast, T5TokenizerFast

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "formats/tests/data/tokenizer"
SEEDS = ROOT / "fuzz/seeds"

CORPUS = """The old lighthouse keeper lit the lamp at dusk and wrote down the weather: wind from
the west, light rain, 12 degrees. He'd seen 3 ships that day; they'd all gone by without a
sound. "It's the quiet ones that I'll remember," he said, and it was true.
In the morning the sea was flat. She's the one who'd told him, we're sure of it, that there
are 365 lamps along the coast, and that they've been burning since 1822.
def keeper(lamp, hours=24):
    for hour in range(hours):
        if lamp.is_dark():
            lamp.light()
    return lamp
Der alte Leuchtturm steht über dem Meer. Le phare éclaire la mer. Маяк стоит над морем.
灯台は海の上に立っている。灯塔在海边。""".splitlines()

# Strings that have broken tokenizers: each stands alone as a whole text.
TEXTS = [
    "",
    " ",
    "  ",
    "   ",
    "\t",
    "\n",
    "\n\n",
    "\n\n\n",
    "\t\n",
    "\r\n",
    " \r\n \r\n  x",
    "a\u0000b",
    "Hello world",
    " Hello world",
    "Hello  world ",
    "  leading and trailing   ",
    "\ttab\tand\t\ttabs",
    "a                b                 c",
    "the lamp\n    is lit\n        here\n",
    "It's, IT'S, they'LL, we'Ve, 'tis; I'd'ye don''t '",
    "ſ 'ſ it'ſ",
    "0 1 12 123 1234 12345 123456 1,234.56 ½ ² Ⅷ ٣٤٥",
    "ünïcödé é e\u0301 n\u0303 \u0301alone",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🚀(normal) 😶‍🌫️ x",
    "我想在apple工作1314151天～ 灯台、海。",
    "שלום עולם مرحبا بالعالم \u200fx\u200e",
    "Маяк стоит над морем. ЁЖ ёж",
    "ಠ_ಠ क्षेत्र ประเทศไทย 한국어 조선말",
    "\u00a0nbsp\u2003em\u3000ideographic\u200bzero\ufeffbom\u2028line\u0085next",
    "!!!???... ---=== ''''''```` \"\"\"\" $$ €€ <<>> ([{}])",
    "camelCaseWord HTTPServer XMLHttpRequest iPhone ÀÉÎ ǅungla ʰaspirated",
    "https://example.org/a?b=c&d=%20#e @user #tag a_b-c/d\\e",
    "for(i=0;i<10;++i){\n\tx[i] += y[i];\r\n}\n",
    "▁ ▁▁ a▁b ▁<s>",
    "<s> </s> <unk> <|endoftext|> <|begin|>x<|end|>",
    "x <|user|>  y<|user|>z",
    "word[word]word [word] (word) [word]",
    "a<tool>b <tool> <toolx> <sep>c <sep>",
    "<0x41> <0x0A> Ġ Ċ Ġx",
    "\U0010ffff\ue000\ufffd\U0001f9ff",
    "the " * 60,
    "z" * 160,
    " " * 70 + "x",
    "1" * 50,
]

# The patterns as the models' own tokenizer.json files have them, stage by stage.
GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
CASES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CASES + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + SPACES


def cased(ending, but=""):
    lead = r"[^\r\n\p{L}\p{N}]?"
    upper, lower = (rf"[\p{{{case}}}\p{{Lm}}\p{{Lo}}\p{{M}}{but}]" for case in (r"Lu}\p{Lt", "Ll"))
    return f"{lead}{upper}*{lower}+{ending}|{lead}{upper}+{lower}*{ending}"


PRE_TOKENIZERS = {
    "gpt-2": [GPT2],
    "llama-bpe": [LLAMA3],
    "qwen2": [LLAMA3.replace("{1,3}", "")],
    "qwen35": [
        CASES
        + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
        + SPACES
    ],
    "bailingmoe": [
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
    ],
    "seed-coder": [
        CASES + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+" + SPACES
    ],
    "minicpm5": [r"\p{N}{1,3}", LLAMA3.replace("{1,3}", "+")],
    "deepseek-llm": [
        r"[\r\n]",
        "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1F7Dᾀ-ᾴᾶ-ᾼ\u1FBEῂ-ῄῆ-ῌῐ-\u1FD3ῖ-\u1FDBῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212A-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
        r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
        r"\s+$",
        r"[一-龥ࠀ-一가-퟿]+",
        r"\p{N}+",
    ],
    "deepseek-coder": [
        r"[\r\n]",
        r"\s?\p{L}+",
        r"\s?\p{P}+",
        "[一-龥ࠀ-一가-퟿]+",
        r"\p{N}",
    ],
    "deepseek-v3": [
        r"\p{N}{1,3}",
        "[一-龥぀-ゟ゠-ヿ]+",
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
        r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*" + SPACES,
    ],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "starcoder": [r"\p{N}", GPT2],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "bloom": [r" ?[^(\s|.,!?…。，、।۔،)]+"],
    "tekken": [cased("") + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + SPACES],
    "gpt-4o": [cased(CASES + "?") + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + SPACES],
    "laguna": [r"[^\n]+|[\n]+", LLAMA3.replace("{1,3}", "")],
    "spark2_5": [
        r"\p{N}{1,3}",
        "[一-龥぀-ゟ゠-ヿ]+",
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
        r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+",
        r"\p{N}",
    ],
    "jais-2": [
        LLAMA3.replace(SPACES, r"|\s*[\r\n]+")
        + "".join(rf"|\s{{{1 << bits}}}(?!\S)" for bits in range(9, 1, -1))
        + r"|\s{1,2}(?!\S)|\s{1}"
    ],
    "tiny_aya": [
        r"\d{1,3}(?=(?:\d{3})*\b)",
        cased(CASES + "?") + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + SPACES,
    ],
    "exaone-moe": [
        CASES
        + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
    ],
    "chameleon": [
        "<sentinel:[0-9]+>",
        "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
        "([\t\n]|    |  )",
        r"\p{N}",
        r"[\p{P}!-/:-@\[-`{-~]",
        GPT2,
    ],
    "superbpe": [r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
    # Numbers in groups from their end, for which llama.cpp has a routine; then its patterns.
    "afmoe": [
        r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
        "[\u4E00-\u9FFF\u3400-\u4DBF\uF900-\uFAFF\u3040-\u309F\u30A0-\u30FF\uFF65-\uFF9F"
        "\u2F00-\u2FDF\u0E40-\u0E7F\u0E80-\u0EFF\u1780-\u17FF\u1000-\u109F\uAA60-\uAA7F"
        "\uA9E0-\uA9FF\uAC00-\uD7AF\u1100-\u11FF]+",
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
        r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*" + SPACES,
    ],
    "kimi-k2": [
        r"[\p{Han}]+|"
        + cased(CASES + "?", but=r"&&[^\p{Han}]")
        + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        + SPACES
    ],
}

# What only some of these patterns look at.
PATTERN_TEXTS = [
    "one two  three four, x\u0301 y\u0301\u0302z w 1 a b\nc d /\n/ e",
    "12345678 1234567½890 ½1234 ½123 ٣٤٥٦٧ 1a23b4567 1000 000",
    "<sentinel:12345><sentinel:> <sentinel:1a> <sentinel:٣> x<sentinel:7>>",
    "IMGIMGAZ IMGIMGABCDEZ IMGIMGABCDZ IMGIMGJZ IMGIMGZ IMGIMGIMGIMGABZ",
    "\tA  B    C     D       E\n\n",
    "漢字かな漢字 abc漢字's 々〇〡⺀ Don't漢'LL 한글漢 \u2F00\uF900",
    "ประเทศไทย ພາສາລາວ ភាសាខ្មែរ မြန်မာစာ ﾊﾝｶｸ カタカナ12345 한국어",
]


def random_texts():
    """Strings in which classes of characters meet in every order."""
    source = random.Random(7)
    pool = (
        list("aZ'sTlLrEvVdDmM09/.,-_$+<^`|~!(")
        + [" "] * 12
        + list("\n\n\r\t\u00a0\u3000\u0085éÀſǅʰªßЖж中の가ا١½Ⅷ\u0301\u093f।…—£👍\u200d\u200b\u0000")
    )
    return ["".join(source.choices(pool, k=32)) for _ in range(32)]


def splits():
    texts = [text for text in TEXTS if 0 < len(text) < 100] + random_texts() + PATTERN_TEXTS
    found = {}
    for name, patterns in PRE_TOKENIZERS.items():
        stages = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
        splitter = pre_tokenizers.Sequence(stages)
        found[name] = [
            [len(word.encode()) for word, _ in splitter.pre_tokenize_str(text)]
            for text in texts
        ]
    write("splits.json", {"texts": texts, "splits": found})


def train(tokenizer, specials):
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.decoder = decoders.ByteLevel()


def gpt2():
    """Merges as "a b" strings, added tokens with every flag, no template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    train(tokenizer, ["<|endoftext|>"])
    tokenizer.add_special_tokens([AddedToken("<|user|>", lstrip=True, rstrip=True)])
    tokenizer.add_tokens(
        [
            AddedToken("[word]", single_word=True, normalized=True),
            AddedToken("<tool>", normalized=False),
        ]
    )
    data = json.loads(tokenizer.to_str())
    data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    write("gpt2.tokenizer.json", data)
    return Tokenizer.from_str(json.dumps(data))


def llama3():
    """Merges as pairs, whole words first, BOS and EOS by template."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    train(tokenizer, ["<|begin|>", "<|end|>"])
    template = processors.TemplateProcessing(
        single="<|begin|> $A <|end|>", special_tokens=[("<|begin|>", 0), ("<|end|>", 1)]
    )
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), template]
    )
    data = json.loads(tokenizer.to_str())
    # Words that no merges make, so that taking whole words first shows.
    data["model"]["vocab"]["Ġworld"] = len(data["model"]["vocab"])
    data["model"]["vocab"]["lighthouses"] = len(data["model"]["vocab"])
    write("llama3.tokenizer.json", data)
    return Tokenizer.from_str(json.dumps(data))


def spm(name, **options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        model_type="bpe",
        vocab_size=440,
        byte_fallback=True,
        character_coverage=0.99,
        normalization_rule_name="identity",
        split_digits=True,
        allow_whitespace_only_pieces=True,
        user_defined_symbols=["<sep>"],
        num_threads=1,
        minloglevel=2,
        **options,
    )
    (OUT / f"{name}.model").write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def converted(name, legacy):
    """The tokenizer.json that transformers makes of the SentencePiece model: spaces written
    by a normalizer (legacy) or by a pre-tokenizer."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.model"
        path.write_bytes((OUT / f"{name}.model").read_bytes())
        fast = LlamaTokenizerFast(vocab_file=str(path), legacy=legacy, add_prefix_space=True)
        data = json.loads(fast.backend_tokenizer.to_str())
    name = name if legacy else "metaspace"
    write(f"{name}.tokenizer.json", data)
    return Tokenizer.from_str(json.dumps(data))


def word_piece(name, lowercase):
    """BERT's, with and without case."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=50))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=400,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    data = json.loads(tokenizer.to_str())
    write(f"{name}.tokenizer.json", data)
    return Tokenizer.from_str(json.dumps(data))


# What becomes of some characters; the published maps are a hundred times as long.
RULES = {
    "ﬁ": "fi",
    "\u00a0": " ",
    "\u2003": " ",
    "\u3000": " ",
    "\t": " ",
    "\n": " ",
    "\r": " ",
    "e\u0301": "é",
    "n\u0303": "ñ",
    "½": "1⁄2",
    "…": "...",
    "Ⅷ": "VIII",
    "\u200b": "",
    "ß": "ss",
    "→→": "⇒",
}


def unigram():
    """A unigram model whose text goes through a map of characters."""
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.tsv"
        lines = [
            " ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b)
            for a, b in RULES.items()
        ]
        rules.write_text("\n".join(lines) + "\n")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS),
            model_writer=model,
            model_type="unigram",
            vocab_size=330,
            hard_vocab_limit=False,
            character_coverage=0.99,
            normalization_rule_tsv=str(rules),
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            num_threads=1,
            minloglevel=2,
        )
        (OUT / "unigram.model").write_bytes(model.getvalue())
        path = Path(folder) / "spiece.model"
        path.write_bytes(model.getvalue())
        fast = T5TokenizerFast(vocab_file=str(path), extra_ids=0, legacy=False)
        data = json.loads(fast.backend_tokenizer.to_str())
    write("unigram.tokenizer.json", data)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return processor, Tokenizer.from_str(json.dumps(data))


def cases(tokenizer):
    """For each text: ids where names of control tokens are text; ids where they are tokens,
    with the template around; and the first ones as text again."""
    found = []
    for text in TEXTS:
        tokenizer.encode_special_tokens = True
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = False
        special = tokenizer.encode(text).ids
        found.append([plain, special, tokenizer.decode(plain, skip_special_tokens=False)])
    return found


def spm_cases(processor):
    found = []
    for text in TEXTS:
        ids = processor.encode(text)
        found.append([ids, None, processor.decode(ids)])
    return found


def write(name, data):
    OUT.mkdir(parents=True, exist_ok=True)
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    (OUT / name).write_text(text + "\n", encoding="utf-8")


def seeds():
    """What the fuzzers start from: each kind of component once, in small files."""

    def seed(target, name, data):
        folder = SEEDS / f"tokenizer_{target}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    byte_level = {
        "added_tokens": [
            {"id": 5, "content": "<s>", "special": True, "rstrip": True},
            {"id": 6, "content": "<box>", "normalized": True, "single_word": True},
        ],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated"},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
            "special_tokens": {"<s>": {"ids": [5]}},
        },
        "model": {
            "type": "BPE",
            "vocab": {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġab": 4},
            "merges": ["a b", "Ġ ab"],
            "ignore_merges": True,
        },
    }
    metaspace = {
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"},
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"},
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": {"<unk>": 0, "<0x41>": 1, "a": 2, "▁": 3, "▁a": 4},
            "merges": [["▁", "a"]],
        },
    }
    for name, data in [("byte_level.json", byte_level), ("metaspace.json", metaspace)]:
        seed("json", name, json.dumps(data, ensure_ascii=False).encode())
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS[:2]),
        model_writer=model,
        model_type="bpe",
        vocab_size=48,
        normalization_rule_name="identity",
        user_defined_symbols=["<sep>"],
        num_threads=1,
        minloglevel=2,
    )
    seed("model", "bpe.model", model.getvalue())
    for number, text in enumerate(TEXTS):
        if 20 < len(text) < 100:
            seed("text", f"{number:02}.txt", text.encode())


def main():
    splits()
    seeds()
    found = {"gpt2.tokenizer.json": cases(gpt2()), "llama3.tokenizer.json": cases(llama3())}
    found["spm.model"] = spm_cases(spm("spm", remove_extra_whitespaces=False))
    found["spm.tokenizer.json"] = cases(converted("spm", legacy=True))
    found["metaspace.tokenizer.json"] = cases(converted("spm", legacy=False))
    squeezed = spm("squeezed", remove_extra_whitespaces=True, add_dummy_prefix=False)
    found["squeezed.model"] = spm_cases(squeezed)
    found["wordpiece.tokenizer.json"] = cases(word_piece("wordpiece", lowercase=True))
    found["cased.tokenizer.json"] = cases(word_piece("cased", lowercase=False))
    processor, tokenizer = unigram()
    found["unigram.model"] = spm_cases(processor)
    found["unigram.tokenizer.json"] = cases(tokenizer)
    write("cases.json", {"texts": TEXTS, "cases": found})


if __name__ == "__main__":
    main()
