"""The demo model as it is trained: a small LLaMA with grouped heads and tied embeddings.

The query, key and value matrices are one parameter here, and so are gate and up: fewer,
larger products train faster on a CPU. `weights` cuts them apart again.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

CONFIG = {
    "vocab_size": 1024,
    "hidden_size": 192,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 384,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}


def rotate(x, cos, sin):
    """Rotary positions, halves of the head paired as in transformers."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Norm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        dim, self.heads, self.kv_heads = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
        self.head_dim = dim // self.heads
        self.attention_norm = Norm(dim, c["rms_norm_eps"])
        self.qkv = nn.Linear(dim, (self.heads + 2 * self.kv_heads) * self.head_dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.ffn_norm = Norm(dim, c["rms_norm_eps"])
        self.gate_up = nn.Linear(dim, 2 * c["intermediate_size"], bias=False)
        self.down = nn.Linear(c["intermediate_size"], dim, bias=False)

    def forward(self, x, cos, sin):
        batch, n, dim = x.shape
        y = self.qkv(self.attention_norm(x)).view(batch, n, -1, self.head_dim).transpose(1, 2)
        q, k, v = y.split((self.heads, self.kv_heads, self.kv_heads), dim=1)
        group = self.heads // self.kv_heads
        q = rotate(q, cos, sin)
        k = rotate(k, cos, sin).repeat_interleave(group, dim=1)
        v = v.repeat_interleave(group, dim=1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, n, dim))
        return x + self.feed_forward(self.ffn_norm(x))

    def feed_forward(self, x):
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Llama(nn.Module):
    block = Block

    def __init__(self, c=CONFIG):
        super().__init__()
        self.config = c
        dim, layers = c["hidden_size"], c["num_hidden_layers"]
        self.embedding = nn.Embedding(c["vocab_size"], dim)
        self.blocks = nn.ModuleList(self.block(c) for _ in range(layers))
        self.norm = Norm(dim, c["rms_norm_eps"])
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                into_stream = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.04 / ((2 * layers) ** 0.5 if into_stream else 1))
        head_dim = dim // c["num_attention_heads"]
        rate = c["rope_theta"] ** (-torch.arange(0, head_dim, 2).float() / head_dim)
        angle = torch.arange(c["max_position_embeddings"]).float()[:, None] * rate
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, ids):
        x, n = self.embedding(ids), ids.shape[1]
        for block in self.blocks:
            x = block(x, self.cos[:n], self.sin[:n])
        return F.linear(self.norm(x), self.embedding.weight)

    def load_weights(self, weights):
        """Takes back what `weights` gave."""
        for name, weight in self.weights().items():
            assert weights[name].shape == weight.shape, name
        with torch.no_grad():
            self.embedding.weight.copy_(weights["model.embed_tokens.weight"])
            self.norm.weight.copy_(weights["model.norm.weight"])
            for index, block in enumerate(self.blocks):
                part = lambda name: weights[f"model.layers.{index}.{name}.weight"]
                block.attention_norm.weight.copy_(part("input_layernorm"))
                block.qkv.weight.copy_(torch.cat([part(f"self_attn.{x}_proj") for x in "qkv"]))
                block.out.weight.copy_(part("self_attn.o_proj"))
                block.ffn_norm.weight.copy_(part("post_attention_layernorm"))
                self.load_feed_forward(block, part)

    def load_feed_forward(self, block, part):
        block.gate_up.weight.copy_(torch.cat([part("mlp.gate_proj"), part("mlp.up_proj")]))
        block.down.weight.copy_(part("mlp.down_proj"))

    def weights(self):
        """The parameters under the names and shapes transformers gives them."""
        weights = {"model.embed_tokens.weight": self.embedding.weight,
                   "model.norm.weight": self.norm.weight}
        for index, block in enumerate(self.blocks):
            at = f"model.layers.{index}."
            kv_dim = block.kv_heads * block.head_dim
            q, k, v = block.qkv.weight.split((block.heads * block.head_dim, kv_dim, kv_dim))
            weights |= {
                at + "input_layernorm.weight": block.attention_norm.weight,
                at + "self_attn.q_proj.weight": q,
                at + "self_attn.k_proj.weight": k,
                at + "self_attn.v_proj.weight": v,
                at + "self_attn.o_proj.weight": block.out.weight,
                at + "post_attention_layernorm.weight": block.ffn_norm.weight,
                **dict(self.feed_forward_weights(block, at)),
            }
        return {name: weight.detach().clone().contiguous() for name, weight in weights.items()}

    def feed_forward_weights(self, block, at):
        gate, up = block.gate_up.weight.chunk(2)
        yield at + "mlp.gate_proj.weight", gate
        yield at + "mlp.up_proj.weight", up
        yield at + "mlp.down_proj.weight", block.down.weight

    def configuration(self, end):
        return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
                "bos_token_id": end, "eos_token_id": end, "torch_dtype": "float32",
                "attention_bias": False, "mlp_bias": False, **self.config}
