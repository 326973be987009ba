"""The world that the golden values of all graph models share, and the formulas that several models use; see README.md.

Written from the formulas with dense matrices and autograd alone: nothing here knows a sparse product or a gradient.
"""
import os

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.set_default_dtype(torch.float64)
USERS, ITEMS, D, BATCH = 20, 15, 8, 12
WIDTHS = {"image": 12, "text": 8}
ABSENT = {"image": [3, 9], "text": [5]}
LONELY_USER, LONELY_ITEM = 7, 11
draw = torch.Generator().manual_seed(55)


def normal(*shape, by=1.0):
    return by * torch.randn(*shape, generator=draw)


def pick(n, k):
    return torch.randperm(n, generator=draw)[:k].sort().values


def interactions():
    train, held = [], []
    for user in range(USERS):
        items = [int(i) for i in pick(ITEMS, int(torch.randint(4, 7, (1,), generator=draw)))]
        if user == LONELY_USER:
            held += [(user, i) for i in items[:2]]
            continue
        taken = [i for i in items if i != LONELY_ITEM]
        train += [(user, i) for i in taken[:-1]]
        held += [(user, taken[-1])] + [(user, LONELY_ITEM)] * (user == 2)
    # every other item has somebody
    for item in range(ITEMS):
        if item != LONELY_ITEM and all(i != item for _, i in train):
            train.append((item, item))
    train = sorted(set(train))
    return torch.tensor(train), torch.tensor(sorted(set(held) - set(train)))


TRAIN, HELD = interactions()
R = torch.zeros(USERS, ITEMS)
R[TRAIN[:, 0], TRAIN[:, 1]] = 1
A = torch.cat([torch.cat([torch.zeros(USERS, USERS), R], 1), torch.cat([R.T, torch.zeros(ITEMS, ITEMS)], 1)])


def features():
    """f32 numbers, mostly above zero, so that neighbours have positive cosines; and filled in f64."""
    raw, filled, present = {}, {}, {}
    for name, width in WIDTHS.items():
        x = (0.5 + normal(ITEMS, width)).float()
        here = torch.ones(ITEMS, dtype=torch.int32)
        here[ABSENT[name]] = 0
        x[here == 0] = 0
        raw[name], present[name] = x, here
        y = x.double()
        y[here == 0] = y[here == 1].mean(0)
        filled[name] = y
    return raw, filled, present


RAW, FILLED, PRESENT = features()
ROWS = pick(len(TRAIN), BATCH)[torch.randperm(BATCH, generator=draw)]
USER, POSITIVE = TRAIN[ROWS, 0], TRAIN[ROWS, 1]


def negatives():
    seen = R.sum(0) > 0
    free = [[i for i in range(ITEMS) if seen[i] and R[u, i] == 0] for u in USER]
    return torch.tensor([f[int(torch.randint(0, len(f), (1,), generator=draw))] for f in free])


NEGATIVE = negatives()


def linear_values(p, name, a, b, bias=True):
    p[f"{name}.weight"] = normal(a, b, by=a**-0.5)
    if bias:
        p[f"{name}.bias"] = normal(b, by=0.2)


def tables(user_width=D):
    return {"head/tower.tokens.table": normal(ITEMS, D, by=0.5), "model/users": normal(USERS, user_width, by=0.5)}


def linear(p, name, x):
    return x @ p[f"model/{name}.weight"] + p.get(f"model/{name}.bias", 0.0)


def item_table(p):
    return p["head/tower.tokens.table"]


def normalized(x):
    """D^-1/2 X D^-1/2 by row sums; rows without edges stay zero."""
    degree = x.sum(1)
    assert (degree >= 0).all()
    root = torch.where(degree > 0, degree, torch.ones_like(degree)).rsqrt() * (degree > 0)
    return root[:, None] * x * root[None, :]


GRAPH = normalized(A)


def propagate(e, layers, graph=GRAPH):
    total = e
    for _ in range(layers):
        e = graph @ e
        total = total + e
    return total / (layers + 1)


def ego(p):
    return torch.cat([p["model/users"], item_table(p)])


def split(e):
    return e[:USERS], e[USERS:]


def unit(x):
    return F.normalize(x, dim=-1, eps=1e-12)


def neighbours(x, k, weighted=True):
    """(I, I): the k largest cosines of each row, itself included; 1 in place of the cosine where not weighted."""
    cosine = unit(x) @ unit(x).T
    order = cosine.detach().round(decimals=9).sort(dim=1, descending=True, stable=True)
    assert (order.values[:, k - 1] - order.values[:, k] > 1e-4).all(), "a tie at the edge of the neighbourhood"
    mask = torch.zeros_like(cosine).scatter(1, order.indices[:, :k], 1.0)
    return mask * cosine if weighted else mask


def bpr(u, a, b):
    return -F.logsigmoid((u * a).sum(1) - (u * b).sum(1)).mean()


def squares(*rows):
    return 0.5 * sum(x.square().sum() for x in rows) / BATCH


def norms(*rows):
    return sum(x.norm() for x in rows) / BATCH


def info_nce(a, b, temperature):
    return F.cross_entropy(unit(a) @ unit(b).T / temperature, torch.arange(len(a)))


def trained_features(values):
    for name in WIDTHS:
        values[f"model/{name}.features"] = FILLED[name].clone()


def write(name, model_options, values, step, head="loss = \"bpr\"\n", cases=("",)):
    """step(p, case) -> users, items, auxiliary loss; the head adds BPR where its loss is not "none"."""
    out = {"world/train": TRAIN.int(), "world/held": HELD.int()}
    for m in WIDTHS:
        out |= {f"world/{m}": RAW[m], f"world/{m}/present": PRESENT[m]}
    out |= {"batch/users": USER.int(), "batch/positive": POSITIVE.int(), "batch/negative": NEGATIVE.int()}
    out |= {f"value/{k}": v for k, v in values.items()}
    for case in cases:
        p = {k: v.clone().requires_grad_() for k, v in values.items()}
        users, items, auxiliary = step(p, case)
        pair = bpr(users[USER], items[POSITIVE], items[NEGATIVE])
        main = torch.zeros(()) if "none" in head else pair
        loss = main + auxiliary
        loss.backward()
        parts = {"loss": loss, "loss/head": main, "loss/auxiliary": torch.as_tensor(auxiliary)}
        out |= {case + k: v.detach().reshape(1) for k, v in parts.items()}
        out |= {case + "users": users.detach(), case + "items": items.detach()}
        out |= {f"{case}gradient/{k}": v.grad for k, v in p.items() if v.grad is not None}
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.safetensors")
    save_file({k: v.contiguous() for k, v in out.items()}, path, {"model": model_options, "head": head})
    print(path, os.path.getsize(path), "bytes, loss", [float(out[c + "loss"]) for c in cases])
