"""What the tasks are held against: tiny encoders of random weights, and what transformers' pipelines and
sentence-transformers make of them, in float32.

    python -m venv v
    v/bin/pip install torch==2.8.0 transformers==4.57.6 'sentence-transformers<5.2' 'numpy<2.3'
    v/bin/python tools/tasks/make.py

writes tests/data/tasks. Weights are stored in half precision, which the reference reads as well, so
that both compute with the same numbers.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BartConfig,
    BartForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    BertTokenizerFast,
    pipeline,
)

ROOT = Path(__file__).resolve().parents[2] / "tests" / "data" / "tasks"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = """the a of in is was and to city river king queen paris london john mary went lives loves
red blue big small water fire ##s ##ed ##ing ##er ##ly ##est un ##able great not good bad film
what who where when this example about sport politic music""".split()

TEXTS = [
    "The king of Paris loves the river.",
    "Mary went to London, and John lives in the big city!",
    "a",
    "",
    "Ünable kings: naïve, 中文 and émigré — “quoted” x",
    "who was the greatest queen in the smallest city of fire and water and when was the river red "
    "and blue and big and bad and good",
    "  red   fire  ",
    "zażółć gęślą jaźń 😀 ok",
]


def tokenizer(length):
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    signs = list("0123456789.,!?:;'\"-()") + ["中", "“", "”", "—"]
    vocabulary = SPECIAL + letters + ["##" + c for c in letters] + signs + WORDS
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(vocabulary))}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return BertTokenizerFast(tokenizer_object=made, model_max_length=length), len(vocabulary)


def save(name, kind, seed, length=48, make=BertConfig, **changes):
    """A model with weights that outputs react to, as transformers saves it."""
    fast, vocabulary = tokenizer(length)
    base = dict(vocab_size=vocabulary, max_position_embeddings=64)
    if make is BertConfig:
        base |= dict(hidden_size=32, intermediate_size=48)
        base |= dict(num_hidden_layers=2, num_attention_heads=4)
    config = make(**(base | changes))
    torch.manual_seed(seed)
    model = kind(config).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            if key.lower().endswith(("norm.weight", "norm_embedding.weight")):
                value.uniform_(0.7, 1.3)
            elif key.endswith("bias"):
                value.uniform_(-0.3, 0.3)
            else:
                value.uniform_(-0.5, 0.5)
            if key.startswith(("classifier", "qa_outputs", "classification_head.out_proj")):
                value.mul_(3)
    model.tie_weights()
    folder = ROOT / name
    folder.mkdir(parents=True)
    model.half().save_pretrained(folder)
    fast.save_pretrained(folder)
    # tokenizer.json says all that these say, and is smaller on one line.
    for other in ["special_tokens_map.json", "vocab.txt"]:
        (folder / other).unlink()
    compact = json.loads((folder / "tokenizer.json").read_text())
    text = json.dumps(compact, ensure_ascii=False, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(text + "\n")
    said = json.loads((folder / "tokenizer_config.json").read_text())
    keep = ["model_max_length", "tokenizer_class", "unk_token", "sep_token", "pad_token"]
    keep += ["cls_token", "mask_token", "do_lower_case"]
    write(folder / "tokenizer_config.json", {key: said[key] for key in keep if key in said})
    return folder


def write(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def plain(value):
    """numpy's numbers as JSON's."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, (numpy.ndarray, torch.Tensor)):
        return plain(value.tolist())
    if isinstance(value, (numpy.floating, float)):
        return float(f"{float(value):.7g}")
    return value.item() if isinstance(value, numpy.generic) else value


def pipe(task, folder, inputs=None, **settings):
    given = {"model_input_names": inputs} if inputs else {}
    fast = BertTokenizerFast.from_pretrained(folder, **given)
    return pipeline(task, str(folder), tokenizer=fast, dtype=torch.float32, device="cpu", **settings)


def embedding():
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense, Pooling

    folder = save("embed", BertModel, 1)
    kinds = ["Transformer", "Pooling", "Dense", "Normalize"]
    paths = ["", "1_Pooling", "2_Dense", "3_Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(zip(paths, kinds))
    ]
    write(folder / "sentence_bert_config.json", {"max_seq_length": 24, "do_lower_case": False})
    prompts = {"query": "who: ", "document": "the film: "}
    settings = {"prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    write(folder / "config_sentence_transformers.json", settings)
    torch.manual_seed(5)
    dense = Dense(32, 20)
    (folder / "2_Dense").mkdir()
    dense.save(str(folder / "2_Dense"))
    weights = load_file(folder / "2_Dense" / "model.safetensors")
    weights = {key: (value * 0.5).half() for key, value in weights.items()}
    save_file(weights, folder / "2_Dense" / "model.safetensors")
    write(folder / "1_Pooling" / "config.json", Pooling(32, "mean").get_config_dict())
    write(folder / "modules.json", modules)

    def opened():
        return SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})

    model = opened()
    found = {"texts": TEXTS, "plain": plain(model.encode(TEXTS))}
    found["query"] = plain(model.encode_query(TEXTS))
    found["document"] = plain(model.encode_document(TEXTS))
    found["prompt"] = plain(model.encode(TEXTS, prompt="is "))
    found["truncate_dim"] = plain(model.encode(TEXTS, truncate_dim=7, normalize_embeddings=True))
    # Without the layers behind, other ways of pooling show.
    write(folder / "modules.json", modules[:2])
    found["poolings"] = {}
    for mode in ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]:
        for include in [True, False]:
            pooling = Pooling(32, mode, include_prompt=include)
            write(folder / "1_Pooling" / "config.json", pooling.get_config_dict())
            key = mode if include else mode + " without prompt"
            found["poolings"][key] = plain(opened().encode_query(TEXTS))
    several = Pooling(32, pooling_mode_cls_token=True, pooling_mode_mean_tokens=True)
    write(folder / "1_Pooling" / "config.json", several.get_config_dict())
    found["poolings"]["cls and mean"] = plain(opened().encode_query(TEXTS))
    write(folder / "1_Pooling" / "config.json", Pooling(32, "mean").get_config_dict())
    write(folder / "modules.json", modules)
    return found


def reranking():
    from sentence_transformers import CrossEncoder

    folder = save("rerank", BertForSequenceClassification, 2, num_labels=1)
    model = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    query = "Where is the queen?"
    ranked = model.rank(query, TEXTS)
    raw = model.rank(query, TEXTS, activation_fn=torch.nn.Identity())
    return {"query": query, "texts": TEXTS, "ranked": plain(ranked), "raw": plain(raw)}


def classification():
    labels = ["contradiction", "neutral", "entailment"]
    names = dict(id2label=dict(enumerate(labels)), label2id={l: i for i, l in enumerate(labels)})
    folder = save("classify", BertForSequenceClassification, 3, **names)
    texts = [text for text in TEXTS if len(text) < 100]
    found = {"texts": texts}
    classify = pipe("text-classification", folder)
    found["top"] = plain([classify(text) for text in texts])
    found["all"] = plain([classify(text, top_k=None) for text in texts])
    for function in ["sigmoid", "softmax", "none"]:
        found[function] = plain([classify(t, top_k=None, function_to_apply=function) for t in texts])
    config = json.loads((folder / "config.json").read_text())
    for kind in ["multi_label_classification", "regression", "single_label_classification"]:
        write(folder / "config.json", config | {"problem_type": kind})
        other = pipe("text-classification", folder)
        found[kind] = plain([other(text, top_k=None) for text in texts])
    write(folder / "config.json", config)
    zero = pipe("zero-shot-classification", folder)
    candidates = ["sport", "politics", "music and film"]
    found["candidates"] = candidates
    found["zero-shot"] = plain([zero(text, candidates) for text in TEXTS if text])
    found["multi-label"] = plain([zero(text, candidates, multi_label=True) for text in TEXTS if text])
    found["one label"] = plain([zero(text, candidates[:1]) for text in TEXTS if text])
    template = "About {}: {}!"[:9] + "!"
    found["template"] = template
    found["templated"] = plain(
        [zero(text, candidates, hypothesis_template=template) for text in TEXTS if text]
    )
    return found


def judging():
    """What follows from what, by a decoder that reads the text once more."""
    labels = ["contradiction", "neutral", "entailment"]
    names = dict(id2label=dict(enumerate(labels)), label2id={l: i for i, l in enumerate(labels)})
    # [PAD], [CLS] and [SEP] of the tokenizer.
    tokens = dict(pad_token_id=0, bos_token_id=2, eos_token_id=3, decoder_start_token_id=3)
    sizes = dict(d_model=32, encoder_layers=1, decoder_layers=1)
    sizes |= dict(encoder_ffn_dim=32, decoder_ffn_dim=32)
    sizes |= dict(encoder_attention_heads=4, decoder_attention_heads=4)
    shape = names | tokens | sizes
    folder = save("judge", BartForSequenceClassification, 7, make=BartConfig, **shape)
    inputs = ["input_ids", "attention_mask"]
    texts = [text for text in TEXTS if text and len(text) < 100]
    classify = pipe("text-classification", folder, inputs)
    zero = pipe("zero-shot-classification", folder, inputs)
    candidates = ["sport", "politics", "music and film"]
    return {
        "texts": texts,
        "candidates": candidates,
        "all": plain([classify(text, top_k=None) for text in texts]),
        "zero-shot": plain([zero(text, candidates) for text in texts]),
        "multi-label": plain([zero(text, candidates, multi_label=True) for text in texts]),
    }


def tagging():
    labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    names = dict(id2label=dict(enumerate(labels)), label2id={l: i for i, l in enumerate(labels)})
    folder = save("tag", BertForTokenClassification, 4, length=32, **names)
    tag = pipe("token-classification", folder)
    found = {"texts": TEXTS}
    for strategy in ["none", "simple", "first", "average", "max"]:
        found[strategy] = plain([tag(text, aggregation_strategy=strategy) for text in TEXTS])
        kept = [tag(text, aggregation_strategy=strategy, ignore_labels=["PER"]) for text in TEXTS]
        found[strategy + " without PER"] = plain(kept)
        if strategy != "none":
            strided = pipe("token-classification", folder, aggregation_strategy=strategy, stride=6)
            found[strategy + " by strides"] = plain([strided(text) for text in TEXTS])
    return found


def filling():
    folder = save("fill-mask", BertForMaskedLM, 5)
    fill = pipe("fill-mask", folder)
    one = ["The [MASK] of Paris.", "Mary [MASK] to London", "[MASK]", "un[MASK] 中文 and [MASK]ing"]
    targets = ["king", "queen", "river"]
    return {
        "texts": one,
        "filled": plain([fill(text) for text in one]),
        "top_k": plain([fill(text, top_k=2) for text in one]),
        "targets": targets,
        "targeted": plain([fill(text, targets=targets) for text in one]),
    }


def answering():
    folder = save("answer", BertForQuestionAnswering, 6)
    answer = pipe("question-answering", folder)
    question = "Where is the queen?"
    found = {"question": question, "cases": []}
    contexts = [text for text in TEXTS if text.strip()]
    contexts.append(" ".join(TEXTS))
    for context in contexts:
        for settings in [
            {},
            {"top_k": 3},
            {"top_k": 4, "align_to_words": False},
            {"max_answer_len": 2},
            {"handle_impossible_answer": True, "top_k": 2},
            {"max_seq_len": 24, "doc_stride": 8, "top_k": 3},
        ]:
            try:
                got = answer(question=question, context=context, **settings)
            except Exception as error:
                print("answer", settings, repr(context[:20]), type(error).__name__, error)
                continue
            got = got if isinstance(got, list) else [got]
            found["cases"].append({"context": context, "settings": settings, "answers": plain(got)})
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = {
        "embed": embedding,
        "rerank": reranking,
        "classify": classification,
        "judge": judging,
        "tag": tagging,
        "fill-mask": filling,
        "answer": answering,
    }
    ROOT.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or made:
        shutil.rmtree(ROOT / name, ignore_errors=True)
        expected = made[name]()
        text = json.dumps(expected, ensure_ascii=False, separators=(",", ":"))
        (ROOT / name / "expected.json").write_text(text + "\n")
        for extra in ["README.md", ".gitattributes"]:
            (ROOT / name / extra).unlink(missing_ok=True)
        print(name, sum(p.stat().st_size for p in (ROOT / name).rglob("*") if p.is_file()))
