"""Golden values of grcn, and of the public code's routing, which never moves a user. See README.md."""
from world import *

values = tables()
for m in WIDTHS:
    values[f"model/{m}.preference"] = normal(USERS, D, by=0.5)
    linear_values(values, f"model/{m}.projection", WIDTHS[m], D)
values["model/confidence"] = 1 + normal(USERS + ITEMS, len(WIDTHS), by=0.5)


def attention(to, source, edges):
    """(targets, sources): softmax over each target's sources; zeros where it has none."""
    e = (to @ source.T).exp() * edges
    total = e.sum(1, keepdim=True)
    return e / torch.where(total > 0, total, torch.ones_like(total))


def step(p, case):
    parts, weights = [], []
    for k, m in enumerate(WIDTHS):
        user = unit(p[f"model/{m}.preference"])
        item = unit(F.leaky_relu(linear(p, f"{m}.projection", FILLED[m]), 0.01))
        for _ in range(3):
            heard = 0 if case else attention(user, item, R) @ item
            user = unit(user + heard)
        x = torch.cat([user, item])
        share = attention(x, x, A)
        parts.append(x + share @ x)
        weights.append(share * p["model/confidence"][None, :, k])
    weight = torch.stack(weights).amax(0).relu()  # no modality weighs where there is no edge
    e = unit(ego(p))
    e1 = weight @ e
    ids = e + e1 + weight @ e1
    users, items = split(torch.cat([ids] + parts, 1))
    twice, both = USER.repeat(2), torch.cat([POSITIVE, NEGATIVE])
    rule = (p["model/users"][twice].square() + item_table(p)[both].square()).mean()
    rule = rule + p["model/image.preference"].square().mean()
    rule = rule + sum(p[f"model/{m}.preference"][USER].square().mean() for m in WIDTHS)
    return users, items, 0.1 * rule


write("grcn", "width = 8\nrouting = 3\nl2 = 0.1\n", values, step, cases=("", "published/"))
