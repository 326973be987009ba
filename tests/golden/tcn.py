"""Golden values of the head `tcn`: item vectors of every variant and all gradients under a random cotangent in PyTorch, f64.

    python tests/golden/tcn.py    # writes tests/golden/tcn.safetensors; needs torch and safetensors

Seven items with three tokens of text, two of an image and one of their own; some lack a modality, one lacks everything. Written item by
item from the formulas of plugins/tcn/README.md, with autograd alone. Run once; tcn_test.cpp compares.
"""
import os

import torch
from safetensors.torch import save_file

D, ITEMS, CODES = 5, 7, [4, 4, 4, 3, 3, 7]
GROUPS = {"text": [0, 1, 2], "image": [3, 4], "all": [5]}  # "all": levels without a modality
OFFSET = [sum(CODES[:l]) for l in range(len(CODES))]


def codes():
    c = torch.stack([torch.randint(0, k, (ITEMS,)) for k in CODES], 1)
    c[:, 5] = torch.arange(ITEMS)
    c[1, :3] = -1
    c[4, 3:5] = -1
    c[6, :] = -1
    return c


def parameters(variant, layers):
    p = {"tower.tokens.table": 0.5 * torch.randn(sum(CODES), D)}
    towers = {"specific": {name: len(levels) for name, levels in GROUPS.items()}, "agnostic": {"all": len(CODES)}}
    for tower, groups in towers.items():
        for name, count in groups.items():
            if variant == "cross":
                p[f"tower.{tower}.{name}.mix"] = torch.eye(count) + 0.3 * torch.randn(layers, count, count)
            if variant == "fm":
                p[f"tower.{tower}.{name}.sum"] = torch.randn(D, D) / D**0.5
                p[f"tower.{tower}.{name}.pairs"] = torch.randn(D, D) / D**0.5
        if variant == "cross":
            p[f"tower.{tower}.first"] = torch.randn(D, D) / D**0.5
            p[f"tower.{tower}.bias"] = 0.3 * torch.randn(layers, D)
            if layers > 1:
                p[f"tower.{tower}.weight"] = torch.randn(layers - 1, D, D) / D**0.5
    if variant == "fm":
        p["tower.bias"] = 0.3 * torch.randn(D)
    return p


def vector(p, variant, layers, row):
    present = [l for l in range(len(CODES)) if row[l] >= 0]
    x = {l: p["tower.tokens.table"][OFFSET[l] + int(row[l])] for l in present}
    if variant == "mean":
        return sum(x.values()) / len(present) if present else torch.zeros(D, dtype=torch.float64)
    out = torch.zeros(D, dtype=torch.float64)
    root = max(1, len(present)) ** 0.5
    for tower, groups in {"specific": GROUPS, "agnostic": {"all": list(range(len(CODES)))}}.items():
        for name, levels in groups.items():
            own = [l for l in levels if l in present]
            if variant == "fm":
                total = sum((x[l] for l in own), torch.zeros(D, dtype=torch.float64))
                pairs = sum((x[a] * x[b] for i, a in enumerate(own) for b in own[:i]), torch.zeros(D, dtype=torch.float64))
                out = out + total @ p[f"tower.{tower}.{name}.sum"] / root + pairs @ p[f"tower.{tower}.{name}.pairs"]
                continue
            first = torch.stack([x[l] if l in own else torch.zeros(D, dtype=torch.float64) for l in levels])
            now = first
            for l in range(layers):
                w = p[f"tower.{tower}.first"] if l == 0 else p[f"tower.{tower}.weight"][l - 1]
                now = first * (p[f"tower.{tower}.{name}.mix"][l] @ now @ w + p[f"tower.{tower}.bias"][l]) + now
            out = out + now.sum(0) / root
    return out + p["tower.bias"] if variant == "fm" else out


def main():
    torch.manual_seed(1)
    torch.set_default_dtype(torch.float64)
    c = codes()
    out = {"codes": c.to(torch.int32)}
    for name, variant, layers in [("mean", "mean", 1), ("fm", "fm", 1), ("cross1", "cross", 1), ("cross3", "cross", 3)]:
        p = {key: value.requires_grad_() for key, value in parameters(variant, layers).items()}
        y = torch.stack([vector(p, variant, layers, row) for row in c])
        cotangent = torch.randn_like(y)
        y.backward(cotangent)
        out[f"{name}/vectors"], out[f"{name}/cotangent"] = y.detach(), cotangent
        for key, value in p.items():
            out[f"{name}/value/{key}"], out[f"{name}/gradient/{key}"] = value.detach(), value.grad
    save_file({k: v.contiguous().clone() for k, v in out.items()}, os.path.join(os.path.dirname(__file__), "tcn.safetensors"))


if __name__ == "__main__":
    main()
