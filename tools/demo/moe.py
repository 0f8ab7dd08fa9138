"""The demo's mixture of experts as it is trained: the demo LLaMA whose feed-forward part is a Mixtral's.

Twelve experts of a sixth of the LLaMA's width, six for a token: it computes as much as the LLaMA does
with twice the weights. All experts are computed here and those that were not chosen weigh nothing,
which is the same and faster in so small a model. It begins as the LLaMA (sparse upcycling, Komatsuzaki
et al. 2022): two experts hold each sixth of its rows, and the router's rows for them are opposites, so
that it chooses one of each two and at first computes what the LLaMA does.
"""

import gguf
import numpy
import torch
import torch.nn as nn
import torch.nn.functional as F

from export import gguf_name, heads_of, separate
from model import CONFIG as LLAMA
from model import Block, Llama

CONFIG = {**LLAMA, "intermediate_size": 64, "num_local_experts": 12, "num_experts_per_tok": 6}


class Experts(nn.Module):
    def __init__(self, c):
        super().__init__()
        dim, width, self.experts = c["hidden_size"], c["intermediate_size"], c["num_local_experts"]
        self.used = c["num_experts_per_tok"]
        self.router = nn.Linear(dim, self.experts, bias=False)
        self.gate_up = nn.Linear(dim, 2 * self.experts * width, bias=False)
        self.down = nn.Linear(self.experts * width, dim, bias=False)

    def forward(self, x):
        shares = F.softmax(self.router(x), dim=-1)
        best, chosen = shares.topk(self.used, dim=-1)
        weights = torch.zeros_like(shares).scatter(-1, chosen, best / best.sum(-1, keepdim=True))
        # Switch's loss: one where all experts get as much.
        load = (weights > 0).float().flatten(0, -2).mean(0) / self.used
        self.balance = self.experts * (load * shares.flatten(0, -2).mean(0)).sum()
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        y = (F.silu(gate) * up).unflatten(-1, (self.experts, -1)) * weights.unsqueeze(-1)
        return self.down(y.flatten(-2))


class MoeBlock(Block):
    def __init__(self, c):
        super().__init__(c)
        del self.gate_up, self.down
        self.moe = Experts(c)

    def feed_forward(self, x):
        return self.moe(x)


class Moe(Llama):
    block = MoeBlock

    def __init__(self, c=CONFIG):
        super().__init__(c)

    def balance(self):
        return sum(block.moe.balance for block in self.blocks) / len(self.blocks)

    def upcycle(self, path):
        """Begins as the LLaMA of this file."""
        tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}

        def weight(name):
            tensor = tensors[gguf_name(name)]
            shape = tuple(reversed(tensor.shape.tolist()))
            weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape)
            heads = heads_of(name, LLAMA)
            return torch.from_numpy(numpy.array(separate(weight, heads) if heads else weight))

        weights = {name: weight(name) for name in Llama().weights()}
        used = self.config["num_experts_per_tok"]
        copies = self.config["num_local_experts"] // used
        for at, block in enumerate(self.blocks):
            at = f"model.layers.{at}."
            router = block.moe.router.weight
            weights[at + "block_sparse_moe.gate.weight"] = torch.cat([router[:used], -router[:used]])
            # What is chosen weighs about a sixth.
            for mine, its, dim, scale in ("w1", "gate", 0, 1), ("w3", "up", 0, 1), ("w2", "down", 1, used):
                parts = weights.pop(f"{at}mlp.{its}_proj.weight").chunk(used, dim=dim) * copies
                for expert, part in enumerate(parts):
                    weights[f"{at}block_sparse_moe.experts.{expert}.{mine}.weight"] = part * scale
        self.load_weights(weights)

    def load_feed_forward(self, block, part):
        moe = block.moe
        experts = lambda name: [part(f"block_sparse_moe.experts.{e}.{name}") for e in range(moe.experts)]
        moe.router.weight.copy_(part("block_sparse_moe.gate"))
        moe.gate_up.weight.copy_(torch.cat(experts("w1") + experts("w3")))
        moe.down.weight.copy_(torch.cat(experts("w2"), dim=1))

    def feed_forward_weights(self, block, at):
        moe = block.moe
        gate, up = moe.gate_up.weight.chunk(2)
        yield at + "block_sparse_moe.gate.weight", moe.router.weight
        for name, weight in ("w1", gate), ("w3", up), ("w2", moe.down.weight.T):
            for expert, part in enumerate(weight.chunk(moe.experts)):
                part = part.T if name == "w2" else part
                yield f"{at}block_sparse_moe.experts.{expert}.{name}.weight", part

    def configuration(self, end):
        return {**super().configuration(end), "architectures": ["MixtralForCausalLM"], "model_type": "mixtral",
                "sliding_window": None, "router_jitter_noise": 0.0}
