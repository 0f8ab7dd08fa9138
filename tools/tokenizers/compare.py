"""Holds our tokenizers against the reference libraries, for equality and for speed.

    python tools/tokenizers/compare.py VOCABULARY… [--text FILE…] [--driver PROGRAM] [--speed]

A vocabulary is a `tokenizer.json` (held against Hugging Face's tokenizers 0.22), a GGUF file
(against llama.cpp, through the program that `llama_tokens.cpp` makes) or RWKV's list of tokens, a
`.txt` (against the tokenizer of its authors' package rwkv 0.8). Texts are nasty strings
made here, each class of them a row, and the lines of the given files. `--speed` times the given
files instead: each in one piece, and cut into short texts. Needs our own side built before:

    cargo build --release -p rillm-formats --example tokens
"""

import argparse
import ast
import json
import os
import random
import re
import struct
import subprocess
import tempfile
import time
import unicodedata
from pathlib import Path

from make import TEXTS

ROOT = Path(__file__).resolve().parents[2]
OURS = ROOT / "target/release/examples/tokens"

MARKS = "\u0300\u0301\u0302\u0307\u0308\u030a\u0323\u0327\u0328\u0345\u0483\u05b0\u064b\u093c\u0941\u0e34\u0e48\u20dd\u3099\ufe0f\ufe20"
EMOJI = [
    "👩\u200d👩\u200d👧\u200d👦",
    "🏳️\u200d🌈",
    "👍🏽",
    "😶\u200d🌫️",
    "🇩🇪",
    "❤️\u200d🔥",
    "1️⃣",
    "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "🚀",
    "☎",
    "\u200d",
    "\ufe0f",
]
SPACES = " \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2002\u2003\u2009\u200b\u2028\u2029\u202f\u205f\u3000\ufeff"
DIGITS = "0123456789" * 3 + "٣٤٥०१२௧๓০১½²³Ⅷ①〇𝟘"
SCRIPTS = [(0x4E00, 0x9FFF), (0x3041, 0x30FF), (0xAC00, 0xD7A3), (0x3400, 0x4DBF), (0x20000, 0x2A6DF)]
LETTERS = [(0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x587), (0x5D0, 0x5EA), (0x620, 0x64A), (0x904, 0x939), (0xE01, 0xE2E), (0x10A0, 0x10FF), (0x1E00, 0x1FFF), (0x2C00, 0x2DFF), (0xA640, 0xA7FF), (0xFF21, 0xFF5A), (0x10400, 0x1044F), (0x1D400, 0x1D7FF)]


def nasty(specials):
    """Classes of strings that have broken tokenizers, by name."""
    source = random.Random(11)

    def of(pool, count=60, longest=40):
        return ["".join(source.choices(pool, k=source.randint(1, longest))) for _ in range(count)]

    def within(ranges):
        return [chr(source.randint(*source.choice(ranges))) for _ in range(400)]

    def unicode():
        point = source.choice([0x250, 0x3000, 0x10000, 0x20000, 0x110000])
        character = chr(source.randrange(point))
        # Newer versions of Unicode give meanings to what was unassigned in the references' one.
        return "\ufffd" if unicodedata.category(character) in ("Cs", "Cn") else character

    words = "the Lamp isn't lit, He'd SAID at 12:30; über çà маяк\tx_y\n".split(" ")
    ascii = [chr(code) for code in range(32, 127)]
    named = []
    for _ in range(60 if specials else 0):
        parts = source.choices(specials, k=3) + source.choices(words + [" ", "  ", "\n", ""], k=4)
        source.shuffle(parts)
        named.append(source.choice(["", " "]).join(parts))
    invalid = [source.randbytes(source.randint(1, 40)).decode(errors="replace") for _ in range(60)]
    return {
        "listed": [text for text in TEXTS if text],
        "any": ["".join(unicode() for _ in range(source.randint(1, 30))) for _ in range(200)],
        "ascii": of(ascii, 200),
        "letters": of(within(LETTERS) + [" ", "'", "."] * 20, 100),
        "marks": of(list(MARKS) * 3 + within(LETTERS)[:100] + [" "] * 5, 100),
        "CJK": of(within(SCRIPTS) + list("。、，！？「」 a1") * 4, 100),
        "emoji": of(EMOJI * 3 + [" ", "a", "\n"], 100, 12),
        "control": of([chr(code) for code in range(32)] + list("\x7f\x80\x9f\xad a"), 100),
        "spaces": of(list(SPACES) * 2 + [" "] * 60 + list("a1.\n\n"), 200),
        "digits": of(list(DIGITS) + list(" ,.-/") * 2 + ["a"], 100),
        "runs": [c * n for c in [" ", "\n", "\t", "a", "1", ".", "é", "👍", "中", "\u0301", "'", "_"] for n in (2, 3, 17, 300)],
        "quotes": of(["'s", "'T", "'re", "'VE", "'m", "'lL", "'d", "'ſ", "'", "a", "Z", " ", "’s", "1"], 100, 12),
        "signs": of([" ", "    ", "\t", "\n", "\r\n", "(", ")", "{", "}", "->", "//", "if", "x1", "_", "=", "\"", "\\", "<|", "|>"], 100),
        "broken": invalid,
        "special": named,
    }


def lines(path):
    """A file's lines, some at a time."""
    rows = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    pieces = ["".join(rows[start : start + 4]) for start in range(0, len(rows), 4)]
    return random.Random(3).sample(pieces, min(2000, len(pieces)))


def ours(vocabulary, texts, *flags):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(texts, file)
        file.flush()
        command = [OURS, vocabulary, file.name, *flags]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()
    return [json.loads(line) for line in out.split("\n") if line]


class HuggingFace:
    def __init__(self, path):
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(path))
        tokens = self.tokenizer.get_added_tokens_decoder().values()
        self.specials = [token.content for token in tokens][:80]

    def encode(self, texts, special):
        self.tokenizer.encode_special_tokens = not special
        found = [self.tokenizer.encode(text, add_special_tokens=special).ids for text in texts]
        return found, [self.tokenizer.decode(ids, skip_special_tokens=False) for ids in found]

    def time(self, texts):
        self.tokenizer.encode_special_tokens = True
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            for text in texts:
                self.tokenizer.encode(text, add_special_tokens=False)
            best = min(best, time.perf_counter() - start)
        return best


class LlamaCpp:
    def __init__(self, path, driver):
        from gguf import GGUFReader

        self.path, self.driver = path, driver
        fields = GGUFReader(path).fields
        tokens, kinds = fields["tokenizer.ggml.tokens"], fields.get("tokenizer.ggml.token_type")
        kinds = kinds.contents() if kinds else []
        self.is_spm = fields["tokenizer.ggml.model"].contents() in ("llama", "bert")
        self.specials = [tokens.contents(id) for id, kind in enumerate(kinds) if kind in (3, 4)][:80]

    def run(self, texts, special):
        encoded = [text.encode() for text in texts]
        data = b"".join(struct.pack("<I", len(text)) + text for text in encoded)
        flag = "1" if special else "0"
        return subprocess.run([self.driver, self.path, flag, flag], input=data, check=True, capture_output=True)

    def encode(self, texts, special):
        rows = [line.split("|") for line in self.run(texts, special).stdout.decode().splitlines()]
        found = [[int(id) for id in ids.split()] for ids, _ in rows]
        backs = [bytes.fromhex(back).decode(errors="replace") for _, back in rows]
        # Pieces one by one keep the space that SentencePiece puts before a text.
        return found, [back.removeprefix(" ") if self.is_spm else back for back in backs]

    def time(self, texts):
        return min(float(self.run(texts, False).stderr.split()[-2]) for _ in range(3))


class Rwkv:
    specials = []

    def __init__(self, path):
        from rwkv.rwkv_tokenizer import TRIE_TOKENIZER

        self.tokenizer = TRIE_TOKENIZER(path)

    @staticmethod
    def as_gguf(path, out):
        """The list as converters write it: as Python shows bytes, after one control token."""
        from gguf import GGUFWriter, TokenType

        tokens, kinds = [b"<s>"], [TokenType.CONTROL]
        for line in Path(path).read_text(encoding="utf-8").split("\n")[:-1]:
            token = ast.literal_eval(line.split(" ", 1)[1].rsplit(" ", 1)[0])
            token = token.encode() if isinstance(token, str) else token
            tokens.append(repr(token)[2:-1].encode())
            kinds.append(TokenType.NORMAL)
        for id in range(len(tokens), 1 << 16):
            tokens.append(f"[PAD{id}]".encode())
            kinds.append(TokenType.UNUSED)
        writer = GGUFWriter(out, "rwkv7")
        writer.add_tokenizer_model("rwkv")
        writer.add_token_list(tokens)
        writer.add_token_types(kinds)
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(0)
        writer.add_eot_token_id(261)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()

    def encode(self, texts, special):
        def ids(text):
            parts = re.split("(<s>)", text) if special else [text]
            return [id for part in parts if part for id in ([0] if special and part == "<s>" else self.tokenizer.encode(part))]

        found = [ids(text) for text in texts]
        text = lambda ids: b"".join(self.tokenizer.idx2token.get(id, b"<s>") for id in ids)
        return found, [text(ids).decode(errors="replace") for ids in found]

    def time(self, texts):
        start = time.perf_counter()
        for text in texts:
            self.tokenizer.encode(text)
        return time.perf_counter() - start


def equality(reference, vocabulary, classes, verbose):
    cells = []
    for name, texts in classes.items():
        if not texts:
            continue
        ids, backs = 0, 0
        for special in (False, True):
            flags = ["--special", "--around"] if special else []
            wanted, back = reference.encode(texts, special)
            for text, theirs, text_back, found in zip(texts, wanted, back, ours(vocabulary, texts, *flags)):
                # The references double a BOS that the text begins with.
                if theirs[:1] == theirs[1:2] != found["ids"][1:2]:
                    theirs = theirs[1:]
                if theirs != found["ids"]:
                    ids += 1
                    if ids <= verbose:
                        print(f"  {name} {special} {text!r}\n    theirs {theirs}\n    ours   {found['ids']}")
                elif not special and text_back != found["text"]:
                    backs += 1
                    if backs <= verbose:
                        print(f"  {name} back {text!r}\n    theirs {text_back!r}\n    ours   {found['text']!r}")
        cells.append(f"{name} {2 * len(texts)}/{ids}/{backs}")
    print(f"{Path(vocabulary).name}: texts/other ids/other text back\n  " + ", ".join(cells), flush=True)


def speed(reference, vocabulary, files):
    for file in files:
        text = Path(file).read_text(encoding="utf-8")[: 1 << 20]
        for name, texts in [("whole", [text]), ("lines", text.splitlines(keepends=True))]:
            mine = ours(vocabulary, texts, "--time")[0]
            theirs = reference.time(texts)
            len_mb = len(text.encode()) / 1e6
            print(
                f"{Path(vocabulary).name} {Path(file).name} {name} ({len(texts)}): ours {len_mb / mine:.1f} MB/s, "
                f"theirs {len_mb / theirs:.1f} MB/s, ratio {theirs / mine:.2f}",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vocabularies", nargs="+")
    parser.add_argument("--text", nargs="*", default=[])
    parser.add_argument("--driver")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--show", type=int, default=0, help="how many differences of each class")
    given = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for vocabulary in given.vocabularies:
        if vocabulary.endswith(".txt"):
            reference, written = Rwkv(vocabulary), os.path.join(tempfile.mkdtemp(), "rwkv.gguf")
            reference.as_gguf(vocabulary, written)
            vocabulary = written
        elif vocabulary.endswith(".gguf"):
            reference = LlamaCpp(vocabulary, given.driver)
        else:
            reference = HuggingFace(vocabulary)
        if given.speed:
            speed(reference, vocabulary, given.text)
            continue
        classes = nasty(reference.specials)
        classes |= {Path(file).stem: lines(file) for file in given.text}
        equality(reference, vocabulary, classes, given.show)


if __name__ == "__main__":
    main()
