"""Writes formats/tests/data/tokenizer/folders.json: folders with SentencePiece models whose pieces have
ids of their class's own, and what transformers' slow classes make of texts there.

    python tools/tokenizers/folders.py

Needs transformers 4.57, sentencepiece 0.2 and what `combinations.py` needs.
"""

import io
import json
import random
import tempfile
from pathlib import Path

import sentencepiece
import transformers
import combinations

OUT = Path(__file__).resolve().parents[2] / "formats/tests/data/tokenizer/folders.json"
# What the reference splits off before the model sees it is left out: users cannot type it here.
SPECIAL = ("<s>", "</s>", "<unk>", "<pad>", "[MASK]")
TEXTS = [text for text in combinations.TEXTS if not any(name in text for name in SPECIAL)] + [
    ">>fr<< the lamp",
    ">>fr<<the lamp",
    ">>xx<< the lamp",
    ">>the lamp",
    " >>fr<< the lamp",
    "the >>fr<< lamp",
    ">>fr<<",
    ">><<",
    "灯 灯台 x台",
    "Меер der Turm leuchtet, Θάλασσα",
]
# `?` in place of the mask.
MASKED = ["the ? lamp", "the?lamp", "?", "  ?  the"]
ENGLISH = combinations.CORPUS[:3] * 3
FOREIGN = ["über dem Meer leuchtet der Turm", "la mer éclaire le phare", "Маяк стоит над морем", "灯台 は 海 の 上"] * 3
NORMALIZATION = "FB01\t66 69\t# fi\nFF46\t66\n3000\t20\n2026\t2E 2E 2E\n9\t20\nA\t20\nD\t20\n65 301\tE9\n"


def pieces(lines, size, kind="unigram", **options):
    model = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        rules.write(NORMALIZATION)
        rules.flush()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            vocab_size=size,
            model_type=kind,
            hard_vocab_limit=False,
            normalization_rule_tsv=rules.name,
            minloglevel=2,
            **options,
        )
    return model.getvalue()


def texts_of(model):
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [processor.id_to_piece(index) for index in range(len(processor))]


def numbered(names):
    return json.dumps({name: index for index, name in enumerate(dict.fromkeys(names))}, ensure_ascii=False)


def marian():
    source, target = pieces(ENGLISH, 70), pieces(FOREIGN, 60)
    rare = {"▁light", "b", "W", "ing"}
    english = [text for text in texts_of(source)[3:] if text not in rare]
    foreign = texts_of(target)[3:]
    mixed = [text for pair in zip(foreign, english) for text in pair] + english[len(foreign) :] + foreign[len(english) :]
    names = ["</s>", "<unk>", *mixed, "灯台", ">>fr<<", ">>de<<", "<pad>"]
    files = {"source.spm": source, "target.spm": target, "vocab.json": numbered(names)}
    apart = files | {
        "vocab.json": numbered(["</s>", "<unk>", *english, "<pad>"]),
        "target_vocab.json": numbered(["</s>", "<unk>", "<pad>", *reversed(foreign)]),
    }
    return files, apart


def named_ids(unknown, begin, end, padding, **ids):
    names = {"unk_piece": unknown, "bos_piece": begin, "eos_piece": end, "pad_piece": padding}
    return {key: name for key, name in names.items() if name} | {f"{key}_id": value for key, value in ids.items()}


def folders():
    shared, apart = marian()
    config = lambda name, **keys: {"tokenizer_config.json": json.dumps({"tokenizer_class": name} | keys)}
    everything = ENGLISH + FOREIGN
    fairseq = pieces(everything, 150)
    fairseq_bpe = pieces(everything, 180, "bpe")
    bpe_texts = texts_of(fairseq_bpe)[3:]
    m2m = numbered(["<s>", "<pad>", "</s>", "<unk>", *reversed([text for text in bpe_texts if text not in ("th", "b")])])
    deberta = pieces(everything, 150, **named_ids("[UNK]", "[CLS]", "[SEP]", "[PAD]", unk=3, bos=1, eos=2, pad=0))
    pegasus = pieces(everything, 150, **named_ids("<unk>", None, "</s>", "<pad>", unk=2, bos=-1, eos=1, pad=0))
    big_bird = pieces(
        everything,
        150,
        user_defined_symbols=["[CLS]", "[SEP]", "[MASK]"],
        **named_ids("<unk>", "<s>", "</s>", "<pad>", unk=3, bos=2, eos=1, pad=0),
    )
    bpe = lambda name, model=fairseq, **keys: (name, {"sentencepiece.bpe.model": model} | config(name, **keys))
    return {
        "m2m_100": (
            "M2M100Tokenizer",
            {"sentencepiece.bpe.model": fairseq_bpe, "vocab.json": m2m} | config("M2M100Tokenizer"),
        ),
        "m2m_100 from French": (
            "M2M100Tokenizer",
            {"sentencepiece.bpe.model": fairseq_bpe, "vocab.json": m2m} | config("M2M100Tokenizer", src_lang="fr"),
        ),
        "xlm_roberta": bpe("XLMRobertaTokenizer"),
        "camembert": bpe("CamembertTokenizer"),
        "mbart": bpe("MBartTokenizer", src_lang="de_DE"),
        "mbart50": bpe("MBart50Tokenizer"),
        "nllb": bpe("NllbTokenizer", fairseq_bpe),
        "nllb legacy": bpe("NllbTokenizer", fairseq_bpe, legacy_behaviour=True, src_lang="fra_Latn"),
        "deberta": ("DebertaV2Tokenizer", {"spm.model": deberta} | config("DebertaV2Tokenizer")),
        "deberta lowercase": (
            "DebertaV2Tokenizer",
            {"spm.model": deberta} | config("DebertaV2Tokenizer", do_lower_case=True),
        ),
        "pegasus": ("PegasusTokenizer", {"spiece.model": pegasus} | config("PegasusTokenizer")),
        "big_bird": ("BigBirdTokenizer", {"spiece.model": big_bird} | config("BigBirdTokenizer")),
        "marian": ("MarianTokenizer", shared | config("MarianTokenizer", source_lang="en", target_lang="fr")),
        "marian apart": ("MarianTokenizer", apart | config("MarianTokenizer", separate_vocabs=True)),
    }


def main():
    pick = random.Random(0)
    found, shared = {}, {}
    for name, (kind, files) in folders().items():
        with tempfile.TemporaryDirectory() as folder:
            for file, content in files.items():
                path = Path(folder) / file
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
            tokenizer = getattr(transformers, kind).from_pretrained(folder)
            expected = [tokenizer(text)["input_ids"] for text in TEXTS]
            mask = tokenizer.mask_token
            masked = [tokenizer(text.replace("?", mask))["input_ids"] for text in MASKED] if mask else []
            sizes = [len(json.loads(files[file])) for file in ("target_vocab.json", "vocab.json") if file in files]
            size = sizes[0] if sizes else len(tokenizer)
            written = [[pick.randrange(size) for _ in range(12)] for _ in range(12)]
            shown = [tokenizer.decode(ids, skip_special_tokens=True) for ids in written]
        for file, content in files.items():
            if isinstance(content, bytes):
                same = (key for key, other in shared.items() if other == content.hex())
                key = next(same, f"model {len(shared)}")
                shared[key] = content.hex()
                files[file] = key
        print(name, flush=True)
        found[name] = {"files": files, "ids": expected, "masked": masked, "written": written, "shown": shown}
    data = {"texts": TEXTS, "masked": MASKED, "folders": found, "models": shared}
    OUT.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
