"""Golden values of lgmrec: local graph and global hypergraph; hyperedges without noise. See README.md."""
from world import *

values = tables()
EDGES = 4
for m in WIDTHS:
    linear_values(values, f"model/{m}.projection", WIDTHS[m], D, bias=False)
    linear_values(values, f"model/{m}.hyperedges", WIDTHS[m], EDGES, bias=False)


def agree(a, b, rows, temperature=0.2):
    own = (unit(a[rows]) * unit(b[rows])).sum(1) / temperature
    return (torch.logsumexp(unit(a[rows]) @ unit(b).T / temperature, 1) - own).sum()


def step(p, case):
    ids = propagate(ego(p), 2)
    local, both, hyper = ids, 0, {}
    degree = R.sum(1, keepdim=True).clamp(min=1)
    for m in WIDTHS:
        f = linear(p, f"{m}.projection", FILLED[m])
        e = torch.cat([R @ f / degree, f])
        for _ in range(2):
            e = GRAPH @ e
        local = local + unit(e)
        logits = linear(p, f"{m}.hyperedges", FILLED[m])
        of_items, of_users = (logits / 0.2).softmax(1), (R @ logits / 0.2).softmax(1)
        z = ids[USERS:]
        for _ in range(2):
            lat = of_items.T @ z
            z, w = of_items @ lat, of_users @ lat
        hyper[m] = (w, z)
        both = both + torch.cat([w, z])
    users, items = split(local + 0.3 * unit(both))
    (image_u, image_i), (text_u, text_i) = hyper["image"], hyper["text"]
    contrast = agree(image_u, text_u, USER) + agree(image_i, text_i, POSITIVE)
    return users, items, 0.01 * contrast + 0.1 * norms(users[USER], items[POSITIVE], items[NEGATIVE])


write("lgmrec", "width = 8\nlayers = 2\nmodality_layers = 2\nhyperedges = 4\nhyper_layers = 2\nsharpness = 0.2\nkeep = 1.0\nalpha = 0.3\n"
      "contrast = 0.01\ntemperature = 0.2\nl2 = 0.1\nnoise = \"never\"\n", values, step)
