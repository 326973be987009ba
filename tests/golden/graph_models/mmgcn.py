"""Golden values of mmgcn with a trained table; untrained, the same gradients but none for the tables. See README.md."""
from world import *

LATENT, LAYERS = 5, 3
values = tables()
width = {m: LATENT if WIDTHS[m] > 2 * LATENT else WIDTHS[m] for m in WIDTHS}
for m in WIDTHS:
    values[f"model/{m}.preference"] = normal(USERS, width[m], by=0.5)
    if width[m] != WIDTHS[m]:
        linear_values(values, f"model/{m}.projection", WIDTHS[m], LATENT)
    for k in range(LAYERS):
        n = width[m] if k == 0 else D
        linear_values(values, f"model/{m}.layers.{k}.neighbours", n, n, bias=False)
        linear_values(values, f"model/{m}.layers.{k}.self", n, D)
        linear_values(values, f"model/{m}.layers.{k}.join", n + D, D)
MEAN = A / A.sum(1, keepdim=True).clamp(min=1)


def leaky(x):
    return F.leaky_relu(x, 0.01)


def step(p, case):
    ids, total = ego(p), 0
    for m in WIDTHS:
        item = linear(p, f"{m}.projection", FILLED[m]) if f"model/{m}.projection.weight" in p else FILLED[m]
        x = unit(torch.cat([p[f"model/{m}.preference"], item]))
        for k in range(LAYERS):
            g = leaky(MEAN @ linear(p, f"{m}.layers.{k}.neighbours", x))
            own = leaky(linear(p, f"{m}.layers.{k}.self", x)) + ids
            x = leaky(linear(p, f"{m}.layers.{k}.join", torch.cat([g, own], 1)))
        total = total + x
    users, items = split(total / len(WIDTHS))
    twice, both = USER.repeat(2), torch.cat([POSITIVE, NEGATIVE])
    rule = (p["model/users"][twice].square() + item_table(p)[both].square()).mean()
    return users, items, 0.1 * (rule + p["model/image.preference"].square().mean())


write("mmgcn", "width = 8\nlayers = 3\nlatent = 5\nl2 = 0.1\ntrain_table = true\n", values, step)
