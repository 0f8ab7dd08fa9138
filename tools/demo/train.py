"""Trains the tokenizer and the demo model on the generated corpus, on a CPU.

    python train.py --output build

leaves `corpus.txt`, `tokenizer.json`, `tokenizer_config.json`, `config.json`,
`model.safetensors` and `train.json` (loss and time) in the output folder. `--family` chooses
between the LLaMA and its siblings of the same size. With `--minutes` the learning rate follows the clock
instead of the step, for a machine that is shared.
"""

import argparse
import json
import math
import os
import time

import gguf
import numpy
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import corpus
import words
from mamba import Mamba
from model import CONFIG, Llama
from moe import Moe
from retnet import RetNet

FAMILIES = {"llama": Llama, "mamba": Mamba, "moe": Moe, "retnet": RetNet}

END = corpus.SEPARATOR
PROMPTS = ["Once upon a time", "One day,", "Lily and Tom", "There was once"]


def train_tokenizer(texts, path):
    """Byte-level pairs with GPT-2's splitting; all 256 bytes are in the vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=CONFIG["vocab_size"], special_tokens=[END], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    tokenizer.save(path)
    return tokenizer


def sample(model, tokenizer, prompt, temperature, tokens, generator):
    """A continuation by the model in training, stopped at the end token."""
    end = tokenizer.token_to_id(END)
    ids = [end] + tokenizer.encode(prompt).ids
    with torch.no_grad():
        for _ in range(min(tokens, CONFIG["max_position_embeddings"] - len(ids))):
            logits = model(torch.tensor([ids]))[0, -1]
            if temperature == 0:
                token = int(logits.argmax())
            else:
                token = int(torch.multinomial(F.softmax(logits / temperature, -1), 1, generator=generator))
            if token == end:
                break
            ids.append(token)
    return tokenizer.decode(ids[1:])


def referring_tokens(tokenizer):
    """Masks over the vocabulary: the names, and the pronouns, as whole tokens after a space."""
    masks = []
    for spoken in (words.GIRLS + words.BOYS, "he she his her him He She His Her".split()):
        mask = torch.zeros(CONFIG["vocab_size"], dtype=torch.bool)
        ids = [tokenizer.token_to_id("\u0120" + word) for word in spoken]
        mask[[token for token in ids if token is not None]] = True
        masks.append(mask)
    return masks


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=FAMILIES, default="llama")
    parser.add_argument("--output", default="build")
    parser.add_argument("--stories", type=int, default=60000)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--minutes", type=float, help="stop by the clock instead of by the step")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--stop", type=int, help="stop at this step, as if interrupted")
    parser.add_argument("--resume", help="begin from the weights of this folder")
    parser.add_argument("--embedding", help="begin from the embedding of this GGUF file of the same vocabulary")
    parser.add_argument("--upcycle", help="with --family moe: begin as the LLaMA of this GGUF file")
    parser.add_argument("--balance", type=float, default=0.01, help="weight in the loss of experts' uneven load")
    parser.add_argument("--spread-names", action="store_true",
                        help="with --resume: pull the embeddings of the names apart first")
    parser.add_argument("--name-weight", type=float, default=6.0,
                        help="weight in the loss of a name that the row has seen before")
    parser.add_argument("--pronoun-weight", type=float, default=3.0)
    parser.add_argument("--embedding-decay", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--order", type=int, default=0, help="another order of the same stories")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    os.makedirs(arguments.output, exist_ok=True)
    inside = lambda name: os.path.join(arguments.output, name)

    texts = list(corpus.stories(arguments.stories, arguments.seed))
    with open(inside("corpus.txt"), "w", encoding="utf-8", newline="\n") as file:
        file.writelines(text + "\n" + END + "\n" for text in texts)
    tokenizer = train_tokenizer(texts[:8000], inside("tokenizer.json"))
    end, length = tokenizer.token_to_id(END), CONFIG["max_position_embeddings"]
    pieces = [numpy.array([end] + encoded.ids, dtype=numpy.int64) for encoded in tokenizer.encode_batch(texts)]
    starts = numpy.cumsum([0] + [len(piece) for piece in pieces])
    stream = numpy.concatenate(pieces)
    # A row starts with a story and ends wherever it is full; the last stories are held back.
    starts = starts[:-1][starts[:-1] + length < len(stream)]
    held, starts = starts[-96:], starts[:-200]
    rows = lambda at: torch.from_numpy(numpy.stack([stream[i:i + length + 1] for i in at]))
    print(f"{len(stream)} tokens, longest story {max(map(len, pieces))}", flush=True)

    model = FAMILIES[arguments.family]()
    count = sum(p.numel() for p in model.parameters())
    print(f"{count} parameters", flush=True)
    is_name, is_pronoun = referring_tokens(tokenizer)
    if arguments.resume:
        model.load_weights(load_file(os.path.join(arguments.resume, "model.safetensors")))
    if arguments.upcycle:
        model.upcycle(arguments.upcycle)
    if arguments.embedding:
        table = {tensor.name: tensor for tensor in gguf.GGUFReader(arguments.embedding).tensors}["token_embd.weight"]
        with torch.no_grad():
            table = gguf.quants.dequantize(table.data, table.tensor_type)
            model.embedding.weight.copy_(torch.from_numpy(numpy.array(table)))
    if arguments.spread_names:
        with torch.no_grad():
            names = model.embedding.weight[is_name]
            model.embedding.weight[is_name] = names + 0.08 * torch.randn_like(names)
    is_matrix = lambda name, p: p.dim() == 2 and not name.endswith("A_log")
    matrices = [p for name, p in model.blocks.named_parameters() if is_matrix(name, p)]
    vectors = [p for name, p in model.named_parameters()
               if not is_matrix(name, p) and p is not model.embedding.weight]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1},
                                   {"params": [model.embedding.weight],
                                    "weight_decay": arguments.embedding_decay},
                                   {"params": vectors, "weight_decay": 0.0}],
                                  lr=arguments.rate, betas=(0.9, 0.97), fused=True)
    order = numpy.random.default_rng(arguments.seed + arguments.order)
    generator = torch.Generator().manual_seed(arguments.seed)

    def loss_of(at, weighted=True):
        """The mean over the tokens; who is meant counts more, or a model this small never learns it.

        Few tokens depend on an earlier name, and all the others are easy, so the plain mean
        spends itself on phrases and leaves every name a guess among fifty.
        """
        data = rows(at)
        context, target = data[:, :-1], data[:, 1:]
        losses = F.cross_entropy(model(context).flatten(0, 1), target.flatten(), reduction="none")
        again = torch.ones(length, length, dtype=torch.bool).tril() & (target[:, :, None] == context[:, None, :])
        again = again.any(-1) & is_name[target]
        if not weighted:
            return losses.mean(), losses[again.flatten()].mean()
        weights = 1 + (arguments.name_weight - 1) * again + (arguments.pronoun_weight - 1) * is_pronoun[target]
        loss = (losses * weights.flatten()).sum() / weights.sum()
        return loss + arguments.balance * model.balance() if arguments.family == "moe" else loss

    def save(step, held_loss, minutes):
        save_file(model.weights(), inside("model.safetensors"), metadata={"format": "pt"})
        with open(inside("config.json"), "w", encoding="utf-8") as file:
            json.dump(model.configuration(end), file, indent=1)
        # Nobody puts an end before a text because of `add_bos_token` alone.
        tokenizer.post_processor = processors.TemplateProcessing(single=END + " $A", special_tokens=[(END, end)])
        tokenizer.save(inside("tokenizer.json"))
        tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
        with open(inside("tokenizer_config.json"), "w", encoding="utf-8") as file:
            json.dump({"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "bos_token": END,
                       "eos_token": END}, file)
        with open(inside("train.json"), "w", encoding="utf-8") as file:
            json.dump({"steps": step, "tokens": step * arguments.batch * length, "parameters": count,
                       "held_out_loss": round(held_loss, 4), "minutes": round(minutes, 1),
                       "seed": arguments.seed}, file, indent=1)

    step, begun, queue, mean = 0, time.time(), [], None
    while True:
        minutes = (time.time() - begun) / 60
        done = minutes / arguments.minutes if arguments.minutes else step / arguments.steps
        if step % 250 == 0 or done >= 1 or step == arguments.stop:
            with torch.no_grad():
                plain = torch.tensor([loss_of(held[i:i + 12], weighted=False) for i in range(0, 96, 12)])
            held_loss, name_loss = plain.mean(0).tolist()
            print(f"step {step} held-out {held_loss:.4f}, repeated names {name_loss:.4f} after {minutes:.1f} min", flush=True)
            for prompt, heat in zip(PROMPTS[:2], (0.0, 0.8)):
                print(f"  [{heat}]", sample(model, tokenizer, prompt, heat, 120, generator).replace("\n", "\n  "), flush=True)
            save(step, held_loss, minutes)
        if done >= 1 or step == arguments.stop:
            break
        if len(queue) < arguments.batch:
            queue = list(order.permutation(starts))
        at, queue = queue[:arguments.batch], queue[arguments.batch:]
        for group in optimizer.param_groups:
            group["lr"] = arguments.rate * min((step + 1) / 100, 0.02 + 0.98 * (1 + math.cos(math.pi * min(done, 1))) / 2)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(at)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        mean = loss.item() if mean is None else 0.95 * mean + 0.05 * loss.item()
        if step % 25 == 0:
            print(f"step {step} loss {mean:.4f} {step * arguments.batch * length / (time.time() - begun):.0f} tokens/s", flush=True)


if __name__ == "__main__":
    main()
