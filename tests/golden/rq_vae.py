"""Golden values of the RQ-VAE: one step in PyTorch, f64, values and gradients of everything.

    python tests/golden/rq_vae.py        # writes tests/golden/rq_vae.safetensors; needs torch and safetensors

Run once; tests/golden/rq_vae_test.cpp compares. Formulas as in framework/nn/residual_quantizer.h, written with autograd and
detach() alone: nothing here knows a gradient.
"""
import os

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

LEVELS, CODES, INPUT, WIDTHS, ROWS, BETA, WEIGHT = 3, 5, 10, [8, 6, 4], 17, 0.25, 0.7


def mlp(widths, prefix, out):
    for i, (a, b) in enumerate(zip(widths, widths[1:])):
        out[f"{prefix}.{i}.weight"] = torch.randn(a, b) / a**0.5
        out[f"{prefix}.{i}.bias"] = 0.1 * torch.randn(b)


def run(p, prefix, x):
    n = len([k for k in p if k.startswith(prefix)]) // 2
    for i in range(n):
        x = x @ p[f"{prefix}.{i}.weight"] + p[f"{prefix}.{i}.bias"]
        if i + 1 < n:
            x = F.relu(x)
    return x


def rotate(z, q):
    """q in value; the gradient goes through the rotation from z to q, held fixed."""
    u = (z / z.norm(dim=1, keepdim=True)).detach()
    v = (q / q.norm(dim=1, keepdim=True)).detach()
    w = F.normalize(u + v, dim=1)
    ratio = (q.norm(dim=1, keepdim=True) / z.norm(dim=1, keepdim=True)).detach()
    dot = lambda a, b: (a * b).sum(1, keepdim=True)
    return ratio * (z - 2 * dot(z, w) * w + 2 * dot(z, u) * v)


def step(p, x, rotation):
    z = run(p, "encoder", x)
    residual, quantised, loss, codes = z, 0, 0, []
    for level in range(LEVELS):
        book = p["quantizer.codebooks"][level]
        code = torch.cdist(residual.detach(), book.detach()).argmin(1)
        e = book[code]
        loss = loss + F.mse_loss(e, residual.detach()) + BETA * F.mse_loss(residual, e.detach())
        quantised, residual = quantised + e.detach(), residual - e.detach()
        codes.append(code)
    q = rotate(z, quantised) if rotation else z + (quantised - z).detach()
    y = run(p, "decoder", q)
    total = F.mse_loss(y, x) + WEIGHT * loss
    return total, {"z": z, "q": q, "y": y, "codes": torch.stack(codes, 1).int()}


def main():
    torch.manual_seed(3)
    torch.set_default_dtype(torch.float64)
    values = {}
    mlp([INPUT] + WIDTHS, "encoder", values)
    values["quantizer.codebooks"] = 0.7 * torch.randn(LEVELS, CODES, WIDTHS[-1])
    mlp(([INPUT] + WIDTHS)[::-1], "decoder", values)
    x = torch.randn(ROWS, INPUT)
    out = {"x": x} | {f"value/{k}": v for k, v in values.items()}
    for name, rotation in [("straight_through", False), ("rotation", True)]:
        p = {k: v.clone().requires_grad_() for k, v in values.items()}
        loss, parts = step(p, x, rotation)
        loss.backward()
        out[f"{name}/loss"] = loss.detach().reshape(1)
        out |= {f"{name}/{k}": v.detach().contiguous() for k, v in parts.items()}
        out |= {f"{name}/gradient/{k}": v.grad.contiguous() for k, v in p.items()}
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rq_vae.safetensors")
    save_file({k: v.contiguous() for k, v in out.items()}, path)
    print(path, os.path.getsize(path), "bytes")


main()
