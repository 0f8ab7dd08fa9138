"""The demo's Mamba as it is trained: transformers' names, shapes and formulas, tied embeddings."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from model import CONFIG as LLAMA
from model import Norm

CONFIG = {
    "architectures": ["MambaForCausalLM"],
    "model_type": "mamba",
    "vocab_size": LLAMA["vocab_size"],
    "hidden_size": LLAMA["hidden_size"],
    "num_hidden_layers": 5,
    "state_size": 16,
    "expand": 2,
    "intermediate_size": 2 * LLAMA["hidden_size"],
    "conv_kernel": 4,
    "time_step_rank": 12,
    "use_bias": False,
    "use_conv_bias": True,
    "hidden_act": "silu",
    "layer_norm_epsilon": 1e-5,
    "residual_in_fp32": True,
    "tie_word_embeddings": True,
}


class Scan(torch.autograd.Function):
    """h_t = exp(Δ_t A) h_{t-1} + Δ_t B_t x_t, y_t = C_t h_t, time first (Gu & Dao 2023, eq. 2).

    Step by step, since a step's numbers fit in a core's cache and those of all steps do not.
    """

    @staticmethod
    def forward(ctx, dt, a, b, c, x):
        h = x.new_zeros(*x.shape[1:], a.shape[1])
        states, y = x.new_empty(x.shape[0], *h.shape), torch.empty_like(x)
        for t in range(x.shape[0]):
            into = (dt[t] * x[t])[..., None] * b[t][:, None]
            h = torch.addcmul(into, (dt[t][..., None] * a).exp_(), h, out=states[t])
            torch.bmm(h, c[t][..., None], out=y[t][..., None])
        ctx.save_for_backward(dt, a, b, c, x, states)
        return y

    @staticmethod
    def backward(ctx, dy):
        dt, a, b, c, x, states = ctx.saved_tensors
        d_dt, d_x, d_a = torch.empty_like(dt), torch.empty_like(x), torch.zeros_like(a)
        d_b, d_c = torch.empty_like(b), torch.empty_like(c)
        g, nothing = torch.zeros_like(states[0]), torch.zeros_like(states[0])
        for t in range(x.shape[0] - 1, -1, -1):
            g.addcmul_(dy[t][..., None], c[t][:, None])
            torch.bmm(dy[t][:, None], states[t], out=d_c[t][:, None])
            torch.bmm((dt[t] * x[t])[:, None], g, out=d_b[t][:, None])
            along_b = torch.bmm(g, b[t][..., None])[..., 0]
            g *= (dt[t][..., None] * a).exp_()
            decayed = g * (states[t - 1] if t else nothing)
            d_x[t] = along_b * dt[t]
            d_dt[t] = along_b * x[t] + (decayed * a).sum(-1)
            d_a += (decayed * dt[t][..., None]).sum(0)
        return d_dt, d_a, d_b, d_c, d_x


class Mixer(nn.Module):
    def __init__(self, c):
        super().__init__()
        dim, inner, self.rank, self.states = (
            c["hidden_size"], c["intermediate_size"], c["time_step_rank"], c["state_size"])
        self.norm = Norm(dim, c["layer_norm_epsilon"])
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, c["conv_kernel"], groups=inner, padding=c["conv_kernel"] - 1)
        self.x_proj = nn.Linear(inner, self.rank + 2 * self.states, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.arange(1, self.states + 1).float().log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, dim, bias=False)

    def initialise_steps(self):
        """Step sizes spread over [0.001, 0.1] (the authors' choice)."""
        dt = torch.exp(torch.rand(len(self.D)) * math.log(100) + math.log(0.001))
        with torch.no_grad():
            self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))
            self.dt_proj.weight.uniform_(-self.rank**-0.5, self.rank**-0.5)

    def forward(self, x):
        n = x.shape[1]
        u, z = self.in_proj(self.norm(x)).chunk(2, dim=-1)
        u = F.silu(self.conv1d(u.transpose(1, 2))[..., :n]).transpose(1, 2)
        dt, b, c = self.x_proj(u).split((self.rank, self.states, self.states), dim=-1)
        dt = F.softplus(self.dt_proj(dt))
        first = lambda value: value.transpose(0, 1).contiguous()
        y = Scan.apply(first(dt), -self.A_log.exp(), first(b), first(c), first(u)).transpose(0, 1)
        return x + self.out_proj((y + self.D * u) * F.silu(z))


class Mamba(nn.Module):
    def __init__(self, c=CONFIG):
        super().__init__()
        self.config = c
        layers = c["num_hidden_layers"]
        self.embedding = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.blocks = nn.ModuleList(Mixer(c) for _ in range(layers))
        self.norm = Norm(c["hidden_size"], c["layer_norm_epsilon"])
        for name, weight in self.named_parameters():
            if weight.dim() == 2 and "A_log" not in name:
                into_stream = name.endswith("out_proj.weight")
                nn.init.normal_(weight, std=0.04 / (layers**0.5 if into_stream else 1))
        for block in self.blocks:
            block.initialise_steps()

    def forward(self, ids):
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.embedding.weight)

    def named_weights(self):
        """Each parameter with transformers' name for it."""
        yield "backbone.embeddings.weight", self.embedding.weight
        yield "backbone.norm_f.weight", self.norm.weight
        for index, block in enumerate(self.blocks):
            for name, weight in block.named_parameters():
                room = "" if name.startswith("norm") else "mixer."
                yield f"backbone.layers.{index}.{room}{name}", weight

    def load_weights(self, weights):
        with torch.no_grad():
            for name, weight in self.named_weights():
                weight.copy_(weights[name])

    def weights(self):
        return {name: weight.detach().clone().contiguous() for name, weight in self.named_weights()}

    def configuration(self, end):
        return {**self.config, "bos_token_id": end, "eos_token_id": end, "torch_dtype": "float32"}
