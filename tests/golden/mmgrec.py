"""Golden values of MMGRec's two networks: vectors, loss and all gradients of one batch in PyTorch, f64.

    python tests/golden/mmgrec.py    # writes tests/golden/mmgrec.safetensors; needs torch and safetensors

graph: two layers of GraphSAGE with means over neighbours in a world of 20 users and 15 items, BPR over a batch; one user and one item have no
neighbours. encoder: two blocks of relation-aware attention over users' sets, written per head with dense scores. Written with autograd
alone, user by user and node by node: nothing here knows a gradient, a sparse product or a fused attention. mmgrec_test.cpp compares.
"""
import os

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

USERS, ITEMS, FEATURES, WIDTH, HIDDEN, OUTPUT, NEGATIVES = 20, 15, 10, 8, 7, 6, 2
D, HEADS, HEAD, FFN, LAYERS, LENGTHS = 6, 2, 4, 9, 2, [4, 1, 5]


def graph_case():
    taken = (torch.rand(USERS, ITEMS) < 0.25)
    taken[3], taken[:, 5] = False, False
    shapes = {"users": (USERS, WIDTH), "fuse.weight": (FEATURES, WIDTH), "layer1.self.weight": (WIDTH, HIDDEN),
              "layer1.self.bias": (HIDDEN,), "layer1.neighbours.weight": (WIDTH, HIDDEN), "layer2.self.weight": (HIDDEN, OUTPUT),
              "layer2.self.bias": (OUTPUT,), "layer2.neighbours.weight": (HIDDEN, OUTPUT)}
    values = {k: 0.5 * torch.randn(s) for k, s in shapes.items()}
    features = torch.randn(ITEMS, FEATURES)
    pairs = taken.nonzero()
    batch = pairs[torch.randperm(len(pairs))[:12]]
    negative = torch.randint(0, ITEMS, (12, NEGATIVES))

    def vectors(p):
        x = torch.cat([p["users"], features @ p["fuse.weight"]])
        neighbours = [[USERS + i for i in range(ITEMS) if taken[u, i]] for u in range(USERS)]
        neighbours += [[u for u in range(USERS) if taken[u, i]] for i in range(ITEMS)]
        for layer in ("layer1", "layer2"):
            mean = torch.stack([x[n].mean(0) if n else torch.zeros(x.shape[1]) for n in neighbours])
            x = mean @ p[f"{layer}.neighbours.weight"] + x @ p[f"{layer}.self.weight"] + p[f"{layer}.self.bias"]
            if layer == "layer1":
                x = F.leaky_relu(x, 0.01)
        return x[:USERS], x[USERS:]

    def loss(p):
        users, items = vectors(p)
        u = users[batch[:, 0]][:, None]
        margin = (u * (items[batch[:, 1]][:, None] - items[negative])).sum(-1)
        return -F.logsigmoid(margin).mean(), {"user_vectors": users, "item_vectors": items}

    given = {"pairs": pairs.int(), "features": features, "batch": batch.int(), "negative": negative.int()}
    return values, loss, given


def encoder_case():
    values = {}
    for b in range(LAYERS):
        shapes = {"attention.qkv.weight": (D, 3 * HEADS * HEAD), "attention.out.weight": (HEADS * HEAD, D),
                  "attention.relations.weight": (D, 3 * HEAD), "ffn.up.weight": (D, FFN), "ffn.down.weight": (FFN, D)}
        for part in "qkv":
            shapes |= {f"attention.user_{part}.hidden.weight": (D, 32), f"attention.user_{part}.scalar.weight": (32, 1)}
        values |= {f"blocks.{b}.{k}": torch.randn(s) / s[0] ** 0.5 for k, s in shapes.items()}
        for norm in ("attention.norm", "ffn.norm"):
            values |= {f"blocks.{b}.{norm}.gain": 1 + 0.2 * torch.randn(D), f"blocks.{b}.{norm}.bias": 0.1 * torch.randn(D)}
    items, users = torch.randn(ITEMS, D), torch.randn(USERS, D)
    sets = torch.randint(0, ITEMS, (sum(LENGTHS),))
    cotangent = torch.randn(sum(LENGTHS), D)

    def block(p, b, x, user):
        w = lambda name: p[f"blocks.{b}.{name}"]
        norm = lambda name, y: F.layer_norm(y, (D,), w(name + ".gain"), w(name + ".bias"), 1e-5)
        s = [torch.relu(user @ w(f"attention.user_{c}.hidden.weight")) @ w(f"attention.user_{c}.scalar.weight") for c in "qkv"]
        own = (x @ w("attention.qkv.weight")).view(-1, 3, HEADS, HEAD)
        shared = (x @ w("attention.relations.weight")).view(-1, 3, HEAD) * torch.stack(s)[None]
        heads = []
        for h in range(HEADS):
            scores = own[:, 0, h] @ own[:, 1, h].T + shared[:, 0] @ shared[:, 1].T
            heads.append(torch.softmax(scores / HEAD**0.5, -1) @ (own[:, 2, h] + shared[:, 2]))
        y = norm("attention.norm", x + torch.cat(heads, -1) @ w("attention.out.weight"))
        return norm("ffn.norm", y + torch.relu(y @ w("ffn.up.weight")) @ w("ffn.down.weight"))

    def loss(p):
        states = []
        for u, rows in enumerate(sets.split(LENGTHS)):
            x = items[rows]
            for b in range(LAYERS):
                x = block(p, b, x, users[u])
            states.append(x)
        states = torch.cat(states)
        return (states * cotangent).sum(), {"states": states}

    given = {"items": items, "users": users, "sets": sets.int(), "lengths": torch.tensor(LENGTHS).int(), "cotangent": cotangent}
    return values, loss, given


def main():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(11)
    out = {}
    for name, (values, loss, given) in {"graph": graph_case(), "encoder": encoder_case()}.items():
        p = {k: v.clone().requires_grad_() for k, v in values.items()}
        value, results = loss(p)
        value.backward()
        out |= {f"{name}/loss": value.detach().reshape(1)}
        out |= {f"{name}/{k}": v.detach() for k, v in (given | results).items()}
        out |= {f"{name}/value/{k}": v for k, v in values.items()}
        out |= {f"{name}/gradient/{k}": v.grad for k, v in p.items()}
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mmgrec.safetensors")
    save_file({k: v.contiguous() for k, v in out.items()}, path)
    print(path, os.path.getsize(path), "bytes")


main()
