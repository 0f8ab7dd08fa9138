"""The demo's RetNet as it is trained: torchscale's decoder in its parallel form, tied embeddings.

Names, shapes and formulas are those of torchscale 0.3.0 (Sun et al. 2023), so the weights open
in its `RetNetDecoder` with the configuration below.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

from model import CONFIG as LLAMA
from model import Norm

CONFIG = {
    "model_type": "retnet",
    "vocab_size": LLAMA["vocab_size"],
    "decoder_embed_dim": LLAMA["hidden_size"],
    "decoder_value_embed_dim": 256,
    "decoder_retention_heads": 4,
    "decoder_ffn_embed_dim": 160,
    "decoder_layers": 4,
    "decoder_normalize_before": True,
    "activation_fn": "swish",
    "no_scale_embedding": True,
    "layernorm_embedding": False,
    "deepnorm": False,
    "subln": True,
    "multiway": False,
    "moe_freq": 0,
    "share_decoder_input_output_embed": True,
    "no_output_layer": False,
    "layernorm_eps": 1e-6,
    "max_target_positions": LLAMA["max_position_embeddings"],
    "chunkwise_recurrent": False,
    "recurrent_chunk_size": 512,
}


def rotate(x, cos, sin):
    """Neighbouring elements are turned against each other."""
    turned = torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)
    return x * cos + turned * sin


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        dim, value_dim = c["decoder_embed_dim"], c["decoder_value_embed_dim"]
        self.heads, self.eps = c["decoder_retention_heads"], c["layernorm_eps"]
        linear = lambda rows, columns: nn.Linear(columns, rows, bias=False)
        self.retention_layer_norm = Norm(dim, self.eps)
        self.q_proj, self.k_proj = linear(dim, dim), linear(dim, dim)
        self.v_proj, self.g_proj = linear(value_dim, dim), linear(value_dim, dim)
        self.out_proj = linear(dim, value_dim)
        self.final_layer_norm = Norm(dim, self.eps)
        self.fc1, self.gate = (linear(c["decoder_ffn_embed_dim"], dim) for _ in range(2))
        self.fc2 = linear(dim, c["decoder_ffn_embed_dim"])

    def forward(self, x, cos, sin, decay):
        batch, n, dim = x.shape
        y = self.retention_layer_norm(x)
        split = lambda z: z.view(batch, n, self.heads, -1).transpose(1, 2)
        q, k, v = split(self.q_proj(y)), split(self.k_proj(y)), split(self.v_proj(y))
        q, k = rotate(q, cos, sin), rotate(k * q.shape[-1] ** -0.5, cos, sin)
        scores = q @ k.transpose(-1, -2) * decay
        scores = scores / scores.detach().sum(-1, keepdim=True).abs().clamp(min=1)
        z = (scores @ v).transpose(1, 2)
        z = z * torch.rsqrt(z.pow(2).mean(-1, keepdim=True) + self.eps)
        x = x + self.out_proj(F.silu(self.g_proj(y)) * z.reshape(batch, n, -1))
        y = self.final_layer_norm(x)
        return x + self.fc2(F.silu(self.fc1(y)) * self.gate(y))


class RetNet(nn.Module):
    def __init__(self, c=CONFIG):
        super().__init__()
        self.config = c
        dim, layers, heads = c["decoder_embed_dim"], c["decoder_layers"], c["decoder_retention_heads"]
        self.embedding = nn.Embedding(c["vocab_size"], dim)
        self.blocks = nn.ModuleList(Layer(c) for _ in range(layers))
        self.norm = Norm(dim, c["layernorm_eps"])
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                into_stream = name.endswith(("out_proj.weight", "fc2.weight"))
                nn.init.normal_(weight, std=0.04 / ((2 * layers) ** 0.5 if into_stream else 1))
        angle = 1.0 / 10000 ** torch.linspace(0, 1, dim // heads // 2)
        self.register_buffer("angle", angle.repeat_interleave(2), persistent=False)
        self.register_buffer("decay", torch.log(1 - 2.0 ** (-5 - torch.arange(heads))), persistent=False)
        at = torch.arange(c["max_target_positions"]).float()
        turns = at[:, None] * self.angle
        distance = (at[:, None] - at).masked_fill(at[:, None] < at, float("inf"))
        mask = torch.exp(distance * self.decay[:, None, None])
        mask = mask / mask.sum(-1, keepdim=True).sqrt()
        for name, table in [("cos", turns.cos()), ("sin", turns.sin()), ("mask", mask)]:
            self.register_buffer(name, table, persistent=False)

    def forward(self, ids):
        x, n = self.embedding(ids), ids.shape[1]
        for block in self.blocks:
            x = block(x, self.cos[:n], self.sin[:n], self.mask[:, :n, :n])
        return F.linear(self.norm(x), self.embedding.weight)

    def named_weights(self):
        """Each parameter with torchscale's name for it."""
        yield "embed_tokens.weight", self.embedding.weight
        yield "layer_norm.weight", self.norm.weight
        for index, block in enumerate(self.blocks):
            for name, weight in block.named_parameters():
                room = {"q_proj": "retention.", "k_proj": "retention.", "v_proj": "retention.",
                        "g_proj": "retention.", "out_proj": "retention.",
                        "fc1": "ffn.", "fc2": "ffn.", "gate": "ffn."}.get(name.split(".")[0], "")
                yield f"layers.{index}.{room}{name}", weight

    def load_weights(self, weights):
        with torch.no_grad():
            for name, weight in self.named_weights():
                weight.copy_(weights[name])

    def weights(self):
        weights = {name: weight.detach().clone().contiguous() for name, weight in self.named_weights()}
        return weights | {"retnet_rel_pos.angle": self.angle.clone(), "retnet_rel_pos.decay": self.decay.clone()}

    def configuration(self, end):
        return {**self.config, "bos_token_id": end, "eos_token_id": end}
