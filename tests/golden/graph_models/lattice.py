"""Golden values of lattice in a step that rebuilds the item graph, which is learnt. See README.md."""
from world import *

values = tables()
for m in WIDTHS:
    linear_values(values, f"model/{m}.projection", WIDTHS[m], D)
values["model/modality_logits"] = torch.tensor([0.3, -0.4])
trained_features(values)
K, KEEP = 4, 0.9
LOOPS = A + torch.eye(USERS + ITEMS)
WALK = LOOPS / LOOPS.sum(1, keepdim=True)
FIXED = [normalized(neighbours(FILLED[m], K)) for m in WIDTHS]


def step(p, case):
    share = p["model/modality_logits"].softmax(0)
    projected = [linear(p, f"{m}.projection", p[f"model/{m}.features"]) for m in WIDTHS]
    learnt = normalized(sum(share[k] * neighbours(f, K) for k, f in enumerate(projected)))
    graph = (1 - KEEP) * learnt + KEEP * sum(share[k] * FIXED[k] for k in range(len(FIXED)))
    users, items = split(propagate(ego(p), 2, WALK))
    items = items + unit(graph @ item_table(p))
    return users, items, 0.1 * squares(users[USER], items[POSITIVE], items[NEGATIVE])


write("lattice", "width = 8\nlayers = 2\nitem_layers = 1\nneighbours = 4\nkeep = 0.9\nl2 = 0.1\ntrain_features = true\n", values, step)
