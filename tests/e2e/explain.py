"""`tessera recommend --explain` of heads that generate items and of one that does not: what a program reads must add up, and people must
find the same in the text."""
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile

tessera = sys.argv[1]
here = os.path.dirname(os.path.abspath(__file__))
small = open(os.path.join(here, "small.toml")).read()
light = 'plugin = "generative_decoder"\nform = "light"'
assert small.count(light) == 1
heads = {"left_out": light, "attention": light.replace("light", "cross"), "none": 'plugin = "dot_product"'}


def call(*words):
    done = subprocess.run([tessera, *words], capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done


def check_item(item, history, kind):
    assert [level["level"] for level in item["levels"]] == ["text/0", "text/1", "counter"], item
    assert abs(sum(level["log_likelihood"] for level in item["levels"]) - item["score"]) < 1e-3, item
    for level in item["levels"]:
        left = math.exp(level["log_likelihood"] - level["log_likelihood_left"])
        assert 0 <= level["trie_removed"] <= 1 and 0 <= level["filters_removed"] <= 1, level
        assert abs(left + level["trie_removed"] + level["filters_removed"] - 1) < 1e-4, level
        assert len(level["weights"]) == len(history), level
    over = [sum(column) for column in zip(*(level["weights"] for level in item["levels"]))]
    if kind == "attention":
        assert all(abs(sum(level["weights"]) - 1) < 1e-6 for level in item["levels"]), item
        over = [weight / 3 for weight in over]
    assert all(abs(a - b) < 1e-9 for a, b in zip(over, item["weights"])), item
    assert any(weight != 0 for weight in over), item


with tempfile.TemporaryDirectory() as work:
    shutil.copy(os.path.join(here, "small_world.toml"), work)
    for kind, head in heads.items():
        pipeline, run = os.path.join(work, kind + ".toml"), os.path.join(work, kind)
        open(pipeline, "w").write(small.replace(light, head))
        call("train", pipeline, "--accept-tokenizer", "--out", run)
        users = [line.split(",")[0] for line in open(os.path.join(run, "per_user.test.csv")).read().split()[1:4]]
        asked = os.path.join(work, "users")
        open(asked, "w").write("\n".join(users) + "\n")
        told = call("recommend", run, "--users", asked, "--k", "4", "--explain", "--json")
        rows = [json.loads(line) for line in told.stdout.splitlines()]
        plain = [json.loads(line) for line in call("recommend", run, "--users", asked, "--k", "4", "--json").stdout.splitlines()]
        assert [row["user"] for row in rows] == users
        for row, same in zip(rows, plain):
            assert [i["item"] for i in row["items"]] == [i["item"] for i in same["items"]], "explaining changes the answer"
            assert len(row["items"]) == 4 and all("identifier" in item["why"] for item in row["items"])
            assert ("history" in row) == (kind != "none") and all(("levels" in i) == (kind != "none") for i in row["items"])
            if kind == "none":
                continue
            assert row["weighed_by"] == kind, row
            for item in row["items"]:
                check_item(item, row["history"], kind)
        said = call("recommend", run, "--user", users[0], "--k", "2", "--explain")
        if kind == "none":
            assert "the head dot_product does not generate items level by level" in said.stderr, said.stderr
            assert "removed by trie" not in said.stdout
            continue
        assert said.stderr == "", said.stderr
        words = "attention on the history: " if kind == "attention" else "log-likelihood that the history adds: "
        assert said.stdout.count("removed by trie  removed by filters") == 2, said.stdout
        lines = [line for line in said.stdout.splitlines() if words in line]
        assert len(lines) == 2 and all(line.count("(most at ") == 3 for line in lines), said.stdout
        # More is removed where less may be answered: only the best item is left.
        allow = os.path.join(work, "allow")
        open(allow, "w").write(rows[0]["items"][0]["item"] + "\n")
        narrow = json.loads(call("recommend", run, "--user", users[0], "--allow", allow, "--explain", "--json").stdout)
        (only,) = narrow["items"]
        for level, before in zip(only["levels"], rows[0]["items"][0]["levels"]):
            assert abs(level["log_likelihood_left"]) < 1e-6, level
            assert level["filters_removed"] >= before["filters_removed"] - 1e-6, (level, before)
            assert abs(level["trie_removed"] - before["trie_removed"]) < 1e-4, (level, before)
print("explanations add up, as numbers and as text")
