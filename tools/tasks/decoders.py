"""What the tasks are held against where the model is a decoder: tiny ones of random weights, and what
transformers 5.24 makes of texts with them, in float32, by what sentence-transformers computes behind it
(pooling, Dense, Normalize) and by how the authors of Qwen3-Reranker put pairs to it.

    v5/bin/python tools/tasks/decoders.py

writes three folders of tests/data/tasks. Weights are stored in half precision, which the reference
reads as well.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    Gemma3TextConfig,
    Gemma3TextModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
)

torch.cuda.is_current_stream_capturing = lambda: False
ROOT = Path(__file__).resolve().parents[2] / "tests" / "data" / "tasks"
END = "<|endoftext|>"
SPECIAL = [END, "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<bos>"]
WORDS = ["yes", "no", "th", "the", "in", "an", "er", "user", "Ġthe", "Ġa"]
TEXTS = [
    "The king of Paris loves the river.",
    "a",
    "Ünable kings: naïve, 中文 — “quoted” x",
    "who was the greatest queen in the smallest city of fire and water and when was the river red",
    "  red   fire  ",
]
QUERY = "who is the <|im_end|> queen?"
PROMPTS = {"query": "Instruct: Given a question, find what answers it\nQuery:", "document": "title: none | text: "}


def tokenizer(around, length=256, special=SPECIAL):
    """Bytes, a few words, and what stands around a text."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary, merges = {letter: index for index, letter in enumerate(letters)}, []
    for word in WORDS:
        parts = list(word)
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair not in merges:
                merges.append(pair)
            parts = ["".join(pair), *parts[2:]]
            vocabulary.setdefault(parts[0], len(vocabulary))
    made = Tokenizer(models.BPE(vocabulary, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    made.post_processor = processors.TemplateProcessing(
        single=around.format("$A"),
        pair=around.format("$A $B"),
        special_tokens=[(text, made.token_to_id(text) or 0) for text in (END, "<bos>")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=END, pad_token=END, model_max_length=length
    )


def save(name, kind, config, fast, seed):
    torch.manual_seed(seed)
    model = kind(config).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            if "norm" in key:
                value.uniform_(-0.3, 0.3) if kind is Gemma3TextModel else value.uniform_(0.7, 1.3)
            else:
                value.uniform_(-0.4, 0.4)
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.half().save_pretrained(folder)
    fast.save_pretrained(folder)
    compact = json.loads((folder / "tokenizer.json").read_text())
    text = json.dumps(compact, ensure_ascii=False, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(text + "\n")
    (folder / "generation_config.json").unlink(missing_ok=True)
    return folder, kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def write(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def compact(path, value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text + "\n")


def rounded(vectors):
    return [[float(f"{x:.7g}") for x in vector] for vector in vectors]


def settings(folder, kinds, pooling):
    modules = ["", "1_Pooling", "2_Dense", "3_Dense", "4_Normalize"]
    modules = [path for path in modules if path.split("_")[-1] in ("", *kinds)]
    names = [path.split("_")[-1] or "Transformer" for path in modules]
    write(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(zip(modules, names))
        ],
    )
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 24, f"pooling_mode_{pooling}": True,
        "pooling_mode_mean_tokens": pooling == "mean_tokens", "include_prompt": True})
    said = {"prompts": PROMPTS, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    write(folder / "config_sentence_transformers.json", said)


def vectors(model, fast, texts, after):
    """Each text alone: nothing depends on padding."""
    found = []
    for text in texts:
        ids = fast(text.strip(), return_tensors="pt").input_ids
        with torch.no_grad():
            found.append(after(model(input_ids=ids).last_hidden_state[0]).tolist())
    return rounded(found)


def all_vectors(folder, model, fast, after):
    of = lambda prompt: vectors(model, fast, [prompt + text for text in TEXTS], after)
    expected = {"texts": TEXTS, "plain": of("")}
    expected |= {name: of(prompt) for name, prompt in PROMPTS.items()}
    compact(folder / "expected.json", expected)


def last_token():
    """As Qwen3-Embedding: the row of the end token that its tokenizer puts behind a text."""
    fast = tokenizer("{} " + END)
    config = Qwen3Config(
        vocab_size=len(fast), hidden_size=24, intermediate_size=40, num_hidden_layers=2, head_dim=8,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True,
    )
    folder, model = save("embed_last", Qwen3Model, config, fast, 31)
    # As the authors' folder says, whose tensors are the bare model's.
    said = json.loads((folder / "config.json").read_text()) | {"architectures": ["Qwen3ForCausalLM"]}
    write(folder / "config.json", said)
    settings(folder, ["Pooling", "Normalize"], "lasttoken")
    normalize = torch.nn.functional.normalize
    all_vectors(folder, model, fast, lambda rows: normalize(rows[-1], dim=0))


def both_ways():
    """As EmbeddingGemma: means of rows that see all others, and two layers without biases."""
    fast = tokenizer("<bos> {} " + END)
    config = Gemma3TextConfig(
        vocab_size=len(fast), hidden_size=24, intermediate_size=40, num_hidden_layers=3, head_dim=8,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256, sliding_window=16,
        query_pre_attn_scalar=8, use_bidirectional_attention=True,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
    )
    folder, model = save("embed_gemma", Gemma3TextModel, config, fast, 32)
    # As stored, the window is that of the configuration before the class halves it.
    model = Gemma3TextModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    settings(folder, ["Pooling", "Dense", "Normalize"], "mean_tokens")
    layers = []
    for path, (columns, rows) in {"2_Dense": (24, 32), "3_Dense": (32, 24)}.items():
        weight = torch.empty(rows, columns).uniform_(-0.5, 0.5).half()
        write(folder / path / "config.json", {"in_features": columns, "out_features": rows, "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity"})
        save_file({"linear.weight": weight}, folder / path / "model.safetensors")
        layers.append(weight.float())

    def after(rows):
        mean = rows.mean(0)
        return torch.nn.functional.normalize(layers[1] @ (layers[0] @ mean), dim=0)

    all_vectors(folder, model, fast, after)


PREFIX = ('<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the '
          'Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n')
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


def asked():
    """As Qwen3-Reranker: how likely yes is, of yes and no, behind a question in words."""
    fast = tokenizer("{}", length=1024)
    config = Qwen3Config(
        vocab_size=len(fast), hidden_size=24, intermediate_size=40, num_hidden_layers=2, head_dim=8,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024, tie_word_embeddings=True,
    )
    folder, model = save("rerank_asked", Qwen3ForCausalLM, config, fast, 33)
    yes, no = fast.convert_tokens_to_ids("yes"), fast.convert_tokens_to_ids("no")
    # What users write is no template: names of control tokens in it are letters.
    plain = tokenizer("{}", special=[])

    def scores(instruction, raw=False):
        found = []
        for text in TEXTS:
            body = f"<Instruct>: {instruction}\n<Query>: {QUERY}\n<Document>: {text}"
            ids = []
            for part, of in [(PREFIX, fast), (body, plain), (SUFFIX, fast)]:
                ids += of(part, add_special_tokens=False).input_ids
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
            pair = torch.stack([logits[no], logits[yes]])
            found.append(float(pair[1] - pair[0]) if raw else float(torch.softmax(pair, 0)[1]))
        return found

    expected = {"query": QUERY, "texts": TEXTS, "plain": scores(INSTRUCTION)}
    expected |= {"prompt": scores("Find the queen"), "raw": scores(INSTRUCTION, raw=True)}
    compact(folder / "expected.json", expected)


if __name__ == "__main__":
    torch.set_num_threads(1)
    last_token()
    both_ways()
    asked()
