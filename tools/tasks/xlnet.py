"""Writes tests/data/xlnet.json: what transformers' pipelines say of texts, alone and in pairs, with the
fixture `xlnet_sequence` and a tokenizer that puts `<sep>` and `<cls>` last, as XLNet's does. By
transformers 5.24.0, as that fixture.

    python tools/tasks/xlnet.py tests/data/xlnet.json
"""

import json
import sys
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, pipeline

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fixtures"))
import fixture  # noqa: E402
import xlnet  # noqa: E402

TEXTS = ["w20 w31 w44", "w12 w50 w33 w21 w40 w19 w27", "w55"]
CANDIDATES = ["w44", "w50 w33"]
TEMPLATE = "w9 {}"
ENTAILS = {0: "contradiction", 1: "neutral", 2: "entailment"}
SPECIAL = ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>"]


def tokenizer():
    vocabulary = {piece: id for id, piece in enumerate(SPECIAL)}
    vocabulary |= {f"w{id}": id for id in range(len(SPECIAL), xlnet.VOCABULARY)}
    built = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    built.pre_tokenizer = pre_tokenizers.Whitespace()
    built.add_special_tokens(SPECIAL)
    built.post_processor = processors.TemplateProcessing(
        single="$A:0 <sep>:0 <cls>:2",
        pair="$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2",
        special_tokens=[("<sep>", vocabulary["<sep>"]), ("<cls>", vocabulary["<cls>"])],
    )
    return built


def main(path):
    entry = next(entry for entry in xlnet.FIXTURES if entry.name == "xlnet_sequence")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(entry.config_json()))
        fixture.write_weights(folder, entry.seed, entry.tensors())
        model = entry.open(folder)
    built = tokenizer()
    names = dict(unk_token="<unk>", cls_token="<cls>", sep_token="<sep>", pad_token="<pad>")
    fast = PreTrainedTokenizerFast(tokenizer_object=built, padding_side="left", **names)
    fast.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    classify = pipeline("text-classification", model=model, tokenizer=fast, top_k=None)
    labels = classify(TEXTS)
    model.config.id2label = ENTAILS
    model.config.label2id = {label: id for id, label in ENTAILS.items()}
    judge = pipeline("zero-shot-classification", model=model, tokenizer=fast)
    written = {
        "fixture": entry.name,
        "tokenizer": json.loads(built.to_str()),
        "texts": TEXTS,
        "labels": labels,
        "candidates": CANDIDATES,
        "template": TEMPLATE,
        "id2label": ENTAILS,
        "zero_shot": judge(TEXTS, candidate_labels=CANDIDATES, hypothesis_template=TEMPLATE),
    }
    Path(path).write_text(json.dumps(written) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
