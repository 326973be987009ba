"""Golden values of a 2-layer flat Transformer with its head: loss, states and all gradients of one batch in PyTorch, f64.

    python tests/golden/flat_transformer.py    # writes tests/golden/flat_transformer.safetensors; needs torch and safetensors

Two cases. items: one position an item, layer norm, GELU, learned positions, tied inner product over all items. tokens: flattened
tokens, RMS norm, SiLU, rotary positions, no biases, next codes of the next item over one vocabulary. Written with autograd
alone, user by user: nothing here knows a gradient or a jagged batch. Run once; flat_transformer_test.cpp compares.
"""
import os

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

D, HEADS, FFN, LAYERS, ITEMS, MAX_ITEMS, LEVELS, CODES = 8, 2, 12, 2, 20, 6, 3, 4
LENGTHS = [4, 2, 7]  # of whole histories; the last item is a target


def block_values(values, prefix, bias):
    shapes = {"attention.qkv": (D, 3 * D), "attention.out": (D, D), "ffn.up": (D, FFN), "ffn.down": (FFN, D)}
    for name, (a, b) in shapes.items():
        values[f"{prefix}.{name}.weight"] = torch.randn(a, b) / a**0.5
        if bias:
            values[f"{prefix}.{name}.bias"] = 0.1 * torch.randn(b)
    for name in ["attention.norm", "ffn.norm"]:
        norm_values(values, f"{prefix}.{name}", bias)


def norm_values(values, name, bias):
    values[f"{name}.gain"] = 1 + 0.2 * torch.randn(D)
    if bias:
        values[f"{name}.bias"] = 0.1 * torch.randn(D)


def norm(p, name, x):
    if f"{name}.bias" in p:
        return F.layer_norm(x, (D,), p[f"{name}.gain"], p[f"{name}.bias"], 1e-5)
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * p[f"{name}.gain"]


def linear(p, name, x):
    return x @ p[f"{name}.weight"] + p.get(f"{name}.bias", 0.0)


def rotate(x):  # (T, H, d): pair (i, i + d/2) turns by position * 10000^(-2i/d)
    t, _, d = x.shape
    angle = torch.arange(t)[:, None] * 10000.0 ** (-2.0 * torch.arange(d // 2) / d)
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def transformer(p, x, rope, activation):
    t = len(x)
    for l in range(LAYERS):
        name = f"model/transformer.blocks.{l}"
        q, k, v = linear(p, f"{name}.attention.qkv", norm(p, f"{name}.attention.norm", x)).view(t, 3, HEADS, D // HEADS).unbind(1)
        if rope:
            q, k = rotate(q), rotate(k)
        score = torch.einsum("ihd,jhd->hij", q, k) / (D // HEADS) ** 0.5
        score = score.masked_fill(torch.triu(torch.ones(t, t, dtype=torch.bool), 1), -torch.inf)
        y = torch.einsum("hij,jhd->ihd", score.softmax(-1), v).reshape(t, D)
        x = x + linear(p, f"{name}.attention.out", y)
        x = x + linear(p, f"{name}.ffn.down", activation(linear(p, f"{name}.ffn.up", norm(p, f"{name}.ffn.norm", x))))
    return norm(p, "model/transformer.norm", x)


def items_case(histories):
    values = {"head/tower.tokens.table": torch.randn(ITEMS, D), "model/positions.table": 0.3 * torch.randn(MAX_ITEMS + 1, D)}
    for l in range(LAYERS):
        block_values(values, f"model/transformer.blocks.{l}", True)
    norm_values(values, "model/transformer.norm", True)

    def loss(p):
        table, losses, states = p["head/tower.tokens.table"], [], []
        for h in histories:
            x = table[h[:-1]] + p["model/positions.table"][: len(h) - 1]
            states.append(transformer(p, x, False, F.gelu))
            losses.append(F.cross_entropy(states[-1] @ table.T, h[1:], reduction="none"))
        return torch.cat(losses).mean(), torch.cat(states)

    return values, loss


def tokens_case(histories, codes):
    vocabulary = LEVELS * CODES
    tokens = codes + CODES * torch.arange(LEVELS)
    values = {"model/tokens.table": torch.randn(vocabulary, D), "head/table.codes.table": torch.randn(vocabulary, D),
              "head/table.output.bias": 0.1 * torch.randn(vocabulary)}
    for l in range(LAYERS):
        block_values(values, f"model/transformer.blocks.{l}", False)
    norm_values(values, "model/transformer.norm", False)

    def loss(p):
        losses, states = [], []
        for h in histories:
            y = transformer(p, p["model/tokens.table"][tokens[h].flatten()], True, F.silu)
            states.append(y)
            # Rows from the first item's last token on predict the tokens behind them.
            logits = y[LEVELS - 1 : -1] @ p["head/table.codes.table"].T + p["head/table.output.bias"]
            losses.append(F.cross_entropy(logits, tokens[h[1:]].flatten(), reduction="none"))
        return LEVELS * torch.cat(losses).mean(), torch.cat(states)

    return values, loss


def main():
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    histories = [torch.randint(0, ITEMS, (n,)) for n in LENGTHS]
    grid = torch.cartesian_prod(*[torch.arange(CODES)] * LEVELS)
    codes = grid[torch.randperm(len(grid))[:ITEMS]]
    out = {"lengths": torch.tensor(LENGTHS, dtype=torch.int32), "items": torch.cat(histories).int(), "codes": codes.int()}
    for name, (values, loss) in {"items": items_case(histories), "tokens": tokens_case(histories, codes)}.items():
        p = {k: v.clone().requires_grad_() for k, v in values.items()}
        value, states = loss(p)
        value.backward()
        out |= {f"{name}/loss": value.detach().reshape(1), f"{name}/states": states.detach()}
        out |= {f"{name}/value/{k}": v for k, v in values.items()}
        out |= {f"{name}/gradient/{k}": v.grad for k, v in p.items()}
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "flat_transformer.safetensors")
    save_file({k: v.contiguous() for k, v in out.items()}, path)
    print(path, os.path.getsize(path), "bytes")


main()
