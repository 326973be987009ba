"""Golden values of bm3: no negatives; targets are constants to the gradient. See README.md."""
from world import *

values = tables()
linear_values(values, "model/predictor", D, D)
for m in WIDTHS:
    linear_values(values, f"model/{m}.projection", WIDTHS[m], D)
trained_features(values)


def apart(a, b):
    return 1 - F.cosine_similarity(a, b.detach(), dim=1).mean()


def step(p, case):
    u, i = split(propagate(ego(p), 2))
    i = i + item_table(p)
    users, items = linear(p, "predictor", u), linear(p, "predictor", i)
    loss = apart(users[USER], i[POSITIVE]) + apart(items[POSITIVE], u[USER])
    for m in WIDTHS:
        f = linear(p, f"{m}.projection", p[f"model/{m}.features"])[POSITIVE]
        predicted = linear(p, "predictor", f)
        loss = loss + 2.0 * (apart(predicted, i[POSITIVE]) + apart(predicted, f))
    return users, items, loss + 0.1 * (u.norm() + i.norm()) / ITEMS


write("bm3", "width = 8\nlayers = 2\ndropout = 0.0\nfeature_weight = 2.0\nl2 = 0.1\ntrain_features = true\n", values, step,
      head="loss = \"none\"\n")
