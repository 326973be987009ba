"""The run's files as others read them: safetensors and tensorboard by the packages of those names, codes.npy by numpy, and the metrics
recomputed from the exported lists. Exits with 77 (skipped) where numpy is missing; parts that need more are skipped by name."""
import json
import math
import os
import subprocess
import sys
import tempfile

try:
    import numpy
except ImportError:
    print("skipped: numpy is missing")
    sys.exit(77)

tessera = sys.argv[1]
here = os.path.dirname(os.path.abspath(__file__))
work = tempfile.mkdtemp()
run, lists = os.path.join(work, "run"), os.path.join(work, "lists.jsonl")
pipeline = os.path.join(here, "small.toml")
call = lambda *words: subprocess.run([tessera, *words], check=True, capture_output=True, text=True).stdout
call("train", pipeline, "--accept-tokenizer", "--out", run)

codes = numpy.load(os.path.join(run, "codes.npy"))
assert codes.dtype == numpy.int32 and codes.shape == (120, 3), (codes.dtype, codes.shape)
assert len({tuple(row) for row in codes.tolist()}) == 120, "identifiers are not unique"
index = json.load(open(os.path.join(run, [f for f in os.listdir(run) if f.endswith(".index.json")][0])))
assert len(index) == 120 and all(1 <= len(v) <= 3 for v in index.values()), "index.json"
assert any(v[0].startswith("<a_") for v in index.values())  # items without text have no first code

stated = json.loads(call("evaluate", run, "--json", "--lists", lists))["metrics"]
sums, users = {}, {}
for line in open(lists):
    row = json.loads(line)
    prefix = "unseen/" if row["seen_excluded"] else ""
    users[prefix] = users.get(prefix, 0) + 1
    hits = [i for i, item in enumerate(row["items"][:10]) if item in row["targets"]]
    ideal = sum(1 / math.log2(r + 2) for r in range(min(10, len(row["targets"]))))
    for name, value in (("Recall@10", len(hits) / len(row["targets"])), ("HR@10", float(bool(hits))),
                        ("NDCG@10", sum(1 / math.log2(r + 2) for r in hits) / ideal), ("MRR@10", 1 / (hits[0] + 1) if hits else 0.0)):
        sums[prefix + name] = sums.get(prefix + name, 0.0) + value
assert len(sums) == 8, sums
for name, total in sums.items():
    mine = total / users["unseen/" if name.startswith("unseen/") else ""]
    assert abs(mine - stated[name]) < 1e-12, (name, mine, stated[name])
print("metrics recomputed from the lists are equal; codes.npy and the index are real")

try:
    from safetensors.numpy import load_file
    for name in ("model", "checkpoint", "tokenizer"):
        tensors = load_file(os.path.join(run, name + ".safetensors"))
        assert tensors and all(numpy.isfinite(t).all() for t in tensors.values()), name
    print("safetensors opens all three files")
except ImportError:
    print("skipped: the package safetensors is missing")

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(run)
    events.Reload()
    rows = [json.loads(line) for line in open(os.path.join(run, "metrics.jsonl"))]
    losses = [e.value for e in events.Scalars("train/loss")]
    assert numpy.allclose(losses, [r["train/loss"] for r in rows]), losses
    print("tensorboard reads the events")
except ImportError:
    print("skipped: the package tensorboard is missing")
