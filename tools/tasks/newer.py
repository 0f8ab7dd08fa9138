"""Writes tests/data/tasks/newer.json: what newer references make of what their versions before did not
write or did not know, with the models that `make.py` made, and of words that tokenizers of bytes and of
SentencePiece's kind cut elsewhere than at spaces. By transformers 5.24.0 and sentence-transformers 6.2.0:

    python tools/tasks/newer.py
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForTokenClassification,
    XLMRobertaConfig,
    XLMRobertaForTokenClassification,
    pipeline,
)

torch.set_num_threads(1)
# Asking a build without CUDA whether it records a graph crashes.
torch.cuda.is_current_stream_capturing = lambda: False

ROOT = Path(__file__).resolve().parents[2] / "tests" / "data" / "tasks"
TEXTS = ["The king of Paris loves the river.", "a", "naïve, 中文 and émigré — “quoted” x", "  red   fire  "]
FLOAT = {"dtype": torch.float32}


def numbers(values):
    return [float(f"{float(value):.7g}") for value in values]


def written(folder, files):
    """A copy of a model's folder with other files, as its user would have it."""
    copy = Path(tempfile.mkdtemp()) / "model"
    shutil.copytree(ROOT / folder, copy)
    for name, content in files.items():
        path = copy / name
        path.parent.mkdir(exist_ok=True)
        if isinstance(content, str):
            shutil.copy(ROOT / content, path)
            continue
        path.write_text(json.dumps(content))
    return copy


def stack(*kinds):
    places = {"Transformer": "base.modules.transformer", "Dense": "base.modules.dense"}
    places |= {"Normalize": "base.modules.normalize", "Pooling": "sentence_transformer.modules.pooling"}
    return [
        {
            "idx": index,
            "name": str(index),
            "path": f"{index}_{kind}" if index else "",
            "type": f"sentence_transformers.{places[kind]}.{kind}",
        }
        for index, kind in enumerate(kinds)
    ]


def embedding():
    weights = load_file(ROOT / "embed" / "2_Dense" / "model.safetensors")
    torch.manual_seed(11)
    weights["residual.weight"] = (torch.rand(weights["linear.weight"].shape) - 0.5).half()
    save_file(weights, ROOT / "residual.safetensors")
    pooling = lambda **keys: {"1_Pooling/config.json": {"embedding_dimension": 32} | keys}
    dense = lambda **keys: {"2_Dense/config.json": {"in_features": 32, "out_features": 20, "bias": True} | keys}
    pooled = {"modules.json": stack("Transformer", "Pooling")}
    layered = {"modules.json": stack("Transformer", "Pooling", "Dense")}
    cases = {
        "one mode": pooled | pooling(pooling_mode="weightedmean", include_prompt=True),
        "two modes": pooled | pooling(pooling_mode=["mean", "cls"]),
        "three modes": pooled | pooling(pooling_mode=["lasttoken", "max", "weightedmean"]),
        "residual": layered
        | dense(
            activation_function="torch.nn.modules.activation.Tanh",
            module_input_name="sentence_embedding",
            module_output_name="sentence_embedding",
            use_residual=True,
        )
        | {"2_Dense/model.safetensors": "residual.safetensors"},
        "kept": pooled
        | {
            "config_sentence_transformers.json": {
                "__version__": {"sentence_transformers": "6.2.0"},
                "model_type": "SentenceTransformer",
                "prompts": {"query": "", "document": ""},
                "default_prompt_name": None,
                "similarity_fn_name": "cosine",
                "truncate_dim": 7,
            },
            "sentence_bert_config.json": {
                "transformer_task": "feature-extraction",
                "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
                "module_output_name": "token_embeddings",
            },
        },
    }
    functions = ["ReLU6", "LeakyReLU", "GELU", "SiLU", "Mish", "Softplus", "Hardswish"]
    for name in functions:
        cases[name] = layered | dense(activation_function=f"torch.nn.modules.activation.{name}")
    for name, files in cases.items():
        model = SentenceTransformer(str(written("embed", files)), device="cpu", model_kwargs=FLOAT)
        yield {"name": name, "files": files, "vectors": [numbers(row) for row in model.encode(TEXTS)]}


def reranking():
    said = {
        "modules.json": stack("Transformer"),
        "config_sentence_transformers.json": {
            "activation_fn": "torch.nn.modules.linear.Identity",
            "default_prompt_name": "q",
            "model_type": "CrossEncoder",
            "prompts": {"q": "who: "},
        },
        "sentence_bert_config.json": {
            "transformer_task": "sequence-classification",
            "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
            "module_output_name": "scores",
        },
    }
    short = {"sentence_bert_config.json": said["sentence_bert_config.json"] | {"max_seq_length": 16}}
    for name, files in {"said": said, "short": said | short}.items():
        model = CrossEncoder(str(written("rerank", files)), device="cpu", model_kwargs=FLOAT)
        pairs = [("Where is the queen?", text) for text in TEXTS]
        yield {"name": name, "files": files, "scores": numbers(model.predict(pairs))}


def classifying():
    classify = pipeline("text-classification", str(ROOT / "classify"), device="cpu", **FLOAT)
    others = ["the river", "Mary lives in London and John in Paris", "", "fire"]
    pairs = [{"text": text, "text_pair": other} for text, other in zip(TEXTS, others)]
    found = [classify(pair, top_k=None, truncation=True) for pair in pairs]
    zero = pipeline("zero-shot-classification", str(ROOT / "classify"), device="cpu", **FLOAT)
    template = "{{a}} film about {} }}"
    candidates = ["sport", "politics"]
    return {
        "others": others,
        "pairs": [[{"label": one["label"], "score": numbers([one["score"]])[0]} for one in row] for row in found],
        "template": template,
        "candidates": candidates,
        "zero-shot": [
            {"labels": one["labels"], "scores": numbers(one["scores"])}
            for one in (zero(text, candidates, hypothesis_template=template) for text in TEXTS[:1] + TEXTS[2:])
        ],
    }


LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
TAGGED = [
    "Barack Obama was born in Honolulu, Hawaii.",
    "Ünable kings: naïve, 中文 and émigré — “quoted” x",
    "MARY went\tto LONDON\nand back",
    "ok 😀 👩‍👧 the end",
    "  red   fire  in New York ",
    "it's 'not' good... (1,2)!",
]
CORPUS = [
    "the king of Paris loves the river and the queen was in London with John and Mary",
    "naïve émigré kings ok this is a good film about sport politics and music",
    "where is the great fire of london? it's not here, it was in 1666!",
    "Barack Obama was born in Honolulu, Hawaii. He works in New York City.",
]
CONTROL = {"bos": "<s>", "eos": "</s>", "sep": "</s>", "cls": "<s>", "unk": "<unk>", "pad": "<pad>"}


def bytes_tokenizer():
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=sorted(alphabet), show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return made


def unigram_tokenizer():
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Replace(Regex(" {2,}"), " ")
    words = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    made.pre_tokenizer = pre_tokenizers.Sequence(words)
    made.decoder = decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return made


def tagging(name, tokenizer, shape, kind, seed):
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    special = {f"{key}_token": value for key, value in CONTROL.items()}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=40, **special)
    names = dict(id2label=dict(enumerate(LABELS)), label2id={l: i for i, l in enumerate(LABELS)})
    config = shape(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=66,
        type_vocab_size=1,
        **names,
    )
    torch.manual_seed(seed)
    model = kind(config).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            if key.endswith("LayerNorm.weight"):
                value.uniform_(0.7, 1.3)
            else:
                value.uniform_(-1.0, 1.0)
    model.half().save_pretrained(folder)
    fast.save_pretrained(folder)
    said = json.loads((folder / "tokenizer_config.json").read_text())
    kept = {key: said[key] for key in [*special, "model_max_length"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(kept, indent=1) + "\n")
    text = json.dumps(json.loads((folder / "tokenizer.json").read_text()), ensure_ascii=False, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(text + "\n")
    fast = PreTrainedTokenizerFast.from_pretrained(folder)
    found = {"name": name}
    for strategy in ["none", "simple", "first", "average", "max"]:
        tag = pipeline(
            "token-classification", str(folder), tokenizer=fast, device="cpu", aggregation_strategy=strategy, **FLOAT
        )
        found[strategy] = [
            [
                {
                    "entity": one.get("entity", one.get("entity_group")),
                    "score": numbers([one["score"]])[0],
                    "word": one["word"],
                    "start": one["start"],
                    "end": one["end"],
                }
                for one in tag(text)
            ]
            for text in TAGGED
        ]
    return found


if __name__ == "__main__":
    made = {
        "texts": TEXTS,
        "embed": list(embedding()),
        "rerank": list(reranking()),
        "classify": classifying(),
        "tagged": TAGGED,
        "tag": [
            tagging("tag_bytes", bytes_tokenizer(), RobertaConfig, RobertaForTokenClassification, 1),
            tagging("tag_unigram", unigram_tokenizer(), XLMRobertaConfig, XLMRobertaForTokenClassification, 2),
        ],
    }
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":"))
    (ROOT / "newer.json").write_text(text + "\n")
