"""Writes the `tokenizer.json` of a GGUF file's vocabulary, so that Hugging Face's tokenizers
can be held against files that only exist as GGUF:

    python tools/tokenizers/from_gguf.py VOCABULARY.gguf OUT.json

Byte-level BPE whose pre-tokenizer has its own patterns in `make.py`, and BERT's.
"""

import json
import sys

from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from make import PRE_TOKENIZERS

CONTROL, USER_DEFINED = 3, 4


def byte_level(tokens, kinds, fields):
    pre = fields["tokenizer.ggml.pre"].contents() if "tokenizer.ggml.pre" in fields else "default"
    patterns = PRE_TOKENIZERS[{"mpt": "gpt-2", "olmo": "gpt-2", "refact": "starcoder"}.get(pre, pre)]
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"].contents()]
    vocabulary = {text: id for id, text in enumerate(tokens)}
    whole_words_first = pre in ("llama-bpe", "tekken")
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=whole_words_first))
    stages = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    bytes_last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*stages, bytes_last])
    tokenizer.decoder = decoders.ByteLevel()
    for text, kind in zip(tokens, kinds):
        if kind in (CONTROL, USER_DEFINED):
            token = AddedToken(text, normalized=False, special=kind == CONTROL)
            (tokenizer.add_special_tokens if kind == CONTROL else tokenizer.add_tokens)([token])
    return tokenizer


def word_piece(tokens):
    special = [text for text in tokens if text.startswith("[") and text.endswith("]") and len(text) > 2]
    vocabulary = {}
    for id, text in enumerate(tokens):
        if text not in special:
            text = text[1:] if text.startswith("▁") else "##" + text
        vocabulary[text] = id
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in names])
    return tokenizer


def main():
    path, out = sys.argv[1:]
    fields = GGUFReader(path).fields
    tokens, kinds = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "token_type"))
    is_bert = fields["tokenizer.ggml.model"].contents() == "bert"
    tokenizer = word_piece(tokens) if is_bert else byte_level(tokens, kinds, fields)
    with open(out, "w", encoding="utf-8") as file:
        json.dump(json.loads(tokenizer.to_str()), file, ensure_ascii=False)


if __name__ == "__main__":
    main()
