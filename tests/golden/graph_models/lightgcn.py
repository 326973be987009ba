"""Golden values of lightgcn. See README.md."""
from world import *


def step(p, case):
    users, items = split(propagate(ego(p), 3))
    table, mine = item_table(p), p["model/users"]
    return users, items, 0.1 * squares(mine[USER], table[POSITIVE], table[NEGATIVE])


write("lightgcn", "width = 8\nlayers = 3\nl2 = 0.1\n", tables(), step)
