"""Golden values of slmrec: in-batch contrast of users with items and of ids with modalities. See README.md."""
from world import *

values = tables()
for m in WIDTHS:
    linear_values(values, f"model/{m}.projection", WIDTHS[m], D)
for name in ["user_fusion", "item_fusion"]:
    linear_values(values, f"model/{name}", (1 + len(WIDTHS)) * D, D)
linear_values(values, "model/anchor", D, D)
linear_values(values, "model/image.view", D, D)
linear_values(values, "model/text.chain", D, D)
linear_values(values, "model/text.anchor", D, D // 2)
linear_values(values, "model/text.view", D, D // 2)


def in_batch(a, v):
    return F.cross_entropy(a @ v.T / 0.5, torch.arange(BATCH))


def step(p, case):
    z = [propagate(ego(p), 3)]
    for m in WIDTHS:
        z.append(propagate(torch.cat([p["model/users"], linear(p, f"{m}.projection", unit(FILLED[m]))]), 3))
    users = linear(p, "user_fusion", torch.cat([x[:USERS] for x in z], 1))
    items = linear(p, "item_fusion", torch.cat([x[USERS:] for x in z], 1))
    ids, image, text = [x[USERS:][POSITIVE] for x in z]
    q = linear(p, "anchor", ids)
    loss = in_batch(q, linear(p, "image.view", image))
    q = linear(p, "text.chain", q)
    loss = loss + in_batch(linear(p, "text.anchor", q), linear(p, "text.view", text))
    return users, items, info_nce(users[USER], items[POSITIVE], 0.2) + 0.1 * loss


write("slmrec", "width = 8\nlayers = 3\ntemperature = 0.2\nmodality_temperature = 0.5\nmodality_loss = 0.1\n", values, step,
      head="loss = \"none\"\n")
