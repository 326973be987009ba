"""Golden values of mgcn: views purified by behaviour, one item graph a modality, attention over modalities. See README.md."""
from world import *

values = tables()
for m in WIDTHS:
    linear_values(values, f"model/{m}.projection", WIDTHS[m], D)
    linear_values(values, f"model/{m}.gate", D, D)
    linear_values(values, f"model/{m}.preference", D, D)
linear_values(values, "model/common.projection", D, D)
linear_values(values, "model/common.query", D, 1, bias=False)
trained_features(values)
ITEM_GRAPH = {m: normalized(neighbours(FILLED[m], 4)) for m in WIDTHS}


def step(p, case):
    content = propagate(ego(p), 2)
    views = {}
    for m in WIDTHS:
        f = linear(p, f"{m}.projection", p[f"model/{m}.features"])
        items = ITEM_GRAPH[m] @ (item_table(p) * linear(p, f"{m}.gate", f).sigmoid())
        views[m] = torch.cat([GRAPH[:USERS, USERS:] @ items, items])
    scores = [linear(p, "common.query", linear(p, "common.projection", views[m]).tanh()) for m in WIDTHS]
    share = torch.cat(scores, 1).softmax(1)
    common = sum(share[:, k : k + 1] * views[m] for k, m in enumerate(WIDTHS))
    side = common
    for m in WIDTHS:
        side = side + (views[m] - common) * linear(p, f"{m}.preference", content).sigmoid()
    side = side / (1 + len(WIDTHS))
    users, items = split(content + side)
    side_u, side_i = split(side)
    content_u, content_i = split(content)
    contrast = info_nce(side_i[POSITIVE], content_i[POSITIVE], 0.2) + info_nce(side_u[USER], content_u[USER], 0.2)
    return users, items, 0.1 * squares(users[USER], items[POSITIVE], items[NEGATIVE]) + 0.1 * contrast


write("mgcn", "width = 8\nlayers = 2\nitem_layers = 1\nneighbours = 4\nl2 = 0.1\ncontrast = 0.1\ntemperature = 0.2\ntrain_features = true\n",
      values, step)
