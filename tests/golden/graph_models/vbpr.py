"""Golden values of vbpr: ids and projected features side by side, no graph. See README.md."""
from world import *

values = tables(2 * D)
linear_values(values, "model/projection", sum(WIDTHS.values()), D)


def step(p, case):
    content = linear(p, "projection", torch.cat([FILLED[m] for m in WIDTHS], 1))
    users, items = p["model/users"], torch.cat([item_table(p), content], 1)
    return users, items, 0.1 * norms(users[USER], items[POSITIVE], items[NEGATIVE])


write("vbpr", "width = 8\nl2 = 0.1\n", values, step)
