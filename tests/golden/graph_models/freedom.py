"""Golden values of freedom: a frozen item graph, all edges of the user-item graph. See README.md."""
from world import *

values = tables()
for m in WIDTHS:
    linear_values(values, f"model/{m}.projection", WIDTHS[m], D)
trained_features(values)
K = 4
SHARE = {"image": 0.1, "text": 0.9}
ITEM_GRAPH = sum(SHARE[m] * neighbours(FILLED[m], K, weighted=False) / K for m in WIDTHS)


def step(p, case):
    users, items = split(propagate(ego(p), 2))
    items = items + ITEM_GRAPH @ item_table(p)
    loss = 0
    for m in WIDTHS:
        f = linear(p, f"{m}.projection", p[f"model/{m}.features"])
        loss = loss + bpr(users[USER], f[POSITIVE], f[NEGATIVE])
    return users, items, 0.1 * loss


write("freedom", "width = 8\nlayers = 2\nitem_layers = 1\nneighbours = 4\nimage_weight = 0.1\nedge_dropout = 0.0\nmodality_loss = 0.1\n"
      "train_features = true\n", values, step)
