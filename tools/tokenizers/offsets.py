"""Writes formats/tests/data/tokenizer/offsets.json: where the tokens of nasty strings stand in them, as
the tokenizers library (0.22) says. Run after make.py.

    python tools/tokenizers/offsets.py
"""

import json
from pathlib import Path

from tokenizers import Tokenizer

DATA = Path(__file__).resolve().parents[2] / "formats/tests/data/tokenizer"
NAMES = ["gpt2", "llama3", "spm", "metaspace", "cased", "wordpiece", "unigram"]

TEXTS = json.loads((DATA / "cases.json").read_text())["texts"]
MORE = [
    "Café naïve Ünïted, cafe\u0301 x",
    "中文字 and 日本語。",
    "ﬁne ½ x² ™ Å",
    "İstanbul ΣΑΣ",
    "a\u200bb \u00a0c\u3000d",
    "한국어 한국어",
]


def spans(text, encoding):
    """Bytes, as white space around a token's characters is none of it."""
    for start, end in encoding.offsets:
        own = text[start:end]
        if own.strip():
            start += len(own) - len(own.lstrip())
            end -= len(own) - len(own.rstrip())
        yield [len(text[:start].encode()), len(text[:end].encode())]


texts = [text for text in TEXTS + MORE if len(text) < 200]
written = {"texts": texts}
for name in NAMES:
    tokenizer = Tokenizer.from_file(str(DATA / f"{name}.tokenizer.json"))
    encodings = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    written[name] = [
        {"ids": encoding.ids, "spans": list(spans(text, encoding))}
        for text, encoding in zip(texts, encodings)
    ]
path = DATA / "offsets.json"
path.write_text(json.dumps(written, ensure_ascii=True, separators=(",", ":")) + "\n")
print(path.stat().st_size)
