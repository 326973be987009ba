"""Tables of training runs: what motor_table and comparison_table share. Runs are made by one binary, each thing once, and read from manifests."""
import concurrent.futures
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAIN = ["unseen/Recall@20", "unseen/NDCG@20"]
SLICES = {"items_0": "0", "items_1_5": "1-5", "items_6_10": "6-10", "items_over_10": "> 10"}  # training interactions of the target
COLD = ["unseen/cold/Recall@20", "unseen/cold_alone/Recall@20"]


def add_arguments(parser):
    parser.add_argument("--config", required=True, nargs="+", help="data set and protocol: configs/tiktok.toml")
    parser.add_argument("--out", required=True, help="folder of all runs and of table.md")
    parser.add_argument("--cold", type=float, default=0.1, help="share of strict cold items; 0: none")
    parser.add_argument("--cold-seeds", type=int, default=0, help="0: as many as without cold items")
    parser.add_argument("--control-seeds", type=int, default=0, help="0: as many as the model has")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="of each process; 0: as the configuration says")
    parser.add_argument("--set", action="append", default=[], help="section.key=value for all runs (a smaller budget, say)")
    parser.add_argument("--pipelines", default=os.path.join(ROOT, "pipelines"))
    parser.add_argument("--tessera", default=os.path.join(ROOT, "build-release/bin/tessera"))


class Failed(Exception):
    pass


class Runs:
    """Searches and trainings of a table, by name, each in a folder of --out; what is finished is passed over."""

    def __init__(self, args):
        self.args = args
        self.failures = []
        os.makedirs(os.path.join(args.out, "log"), exist_ok=True)

    def settings(self, more=()):
        out = []
        threads = [f"run.threads={self.args.threads}"] if self.args.threads else []
        for setting in [*self.args.set, *threads, *more]:
            out += ["--set", setting]
        return out

    def call(self, name, words):
        with open(os.path.join(self.args.out, "log", name + ".log"), "a") as log:
            done = subprocess.run([self.args.tessera, *words], stdout=log, stderr=log)
        if done.returncode != 0:
            raise Failed(f"{name} ended with {done.returncode}: {log.name}")

    def folder(self, *parts):
        return os.path.join(self.args.out, *parts)

    def search(self, name, pipeline, seeds):
        if len(self.result(name).get("runs", [])) < seeds:
            self.call(name, ["search", pipeline, *self.args.config, "--accept-tokenizer", "--seeds", str(seeds), "--out", self.folder(name),
                             *self.settings()])

    def result(self, name):
        path = self.folder(name, "result.json")
        return json.load(open(path)) if os.path.exists(path) else {}

    def train(self, name, pipeline, files, of, more, seeds):
        """The best setting of the search `of` once more with the first `seeds` of its seeds (0: all), under `more` settings."""
        best = self.result(of)
        base = manifest(best["runs"][0])["seed"]
        for seed in range(base, base + min(seeds or len(best["runs"]), len(best["runs"]))):
            out = self.folder(name, f"seed_{seed}")
            if manifest(out).get("state") == "finished":
                continue
            settings = self.settings([f"split.seed={base}", *best["settings"], *more, f"run.seed={seed}"])
            self.call(name, ["train", pipeline, *files, *self.args.config, "--accept-tokenizer", "--resume", "--out", out, *settings])

    def each(self, tasks):
        """Calls (function, its words), --jobs at once."""
        with concurrent.futures.ThreadPoolExecutor(self.args.jobs) as pool:
            waiting = {pool.submit(task, *words): f"{task.__name__} {' '.join(words)}" for task, words in tasks}
            for done in concurrent.futures.as_completed(waiting):
                try:
                    done.result()
                    print(f"{waiting[done]}: done", file=sys.stderr)
                except Failed as error:
                    self.failures.append(str(error))
                    print(f"{waiting[done]}: {error}", file=sys.stderr)

    def runs(self, name):
        """Finished runs under a name: of a search ('lightgcn.ids') or of train()."""
        path = self.folder(name, "result.json")
        if os.path.exists(path):
            return json.load(open(path))["runs"]
        folder = self.folder(name)
        found = sorted(os.path.join(folder, f) for f in os.listdir(folder)) if os.path.isdir(folder) else []
        return [f for f in found if manifest(f).get("state") == "finished"]

    def p_values(self, base, other):
        """metric -> p of the paired test over users; the seeds that both have."""
        base = base[:len(other)]
        if not base or len(base) != len(other):
            return {}
        done = subprocess.run([self.args.tessera, "compare", "--json", "--group", "a=" + ",".join(base), "--group", "b=" + ",".join(other)],
                              capture_output=True, text=True)
        if done.returncode != 0:
            self.failures.append(done.stderr.strip())
            return {}
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return {row["metric"]: row["p"] for row in rows}

    def numbers(self, name, base):
        """Cells: the main metrics, parameters, seconds an epoch, slices, strict cold items; (p) against the runs of `base`, if any."""
        runs, cold = self.runs(name), self.runs(name + ".cold")
        p = self.p_values(self.runs(base), runs) if base and base != name else {}
        p_cold = self.p_values(self.runs(base + ".cold"), cold) if base and base != name else {}
        facts = [manifest(run) for run in runs]
        out = [spread(facts, "test/" + metric) + p_text(p, metric) for metric in self.main]
        out += [f"{facts[0].get('parameters', 0):,.0f}" if facts else "-", mean_text(facts, "seconds_an_epoch", 2)]
        out += [spread(facts, f"test/unseen/{piece}/Recall@20", False) + p_text(p, f"unseen/{piece}/Recall@20") for piece in SLICES]
        facts = [manifest(run) for run in cold]
        return out + [spread(facts, "test/" + metric) + p_text(p_cold, metric) for metric in COLD]

    def heading(self):
        return [short(metric) for metric in self.main] + ["parameters", "s/epoch", *(f"R@20, {s}" for s in SLICES.values()), "cold R@20",
                                                          "cold alone R@20"]

    main = MAIN

    def finish(self, text):
        """Writes table.md whole, prints it and what failed; exit status."""
        with open(self.folder("table.md.new"), "w") as out:
            out.write(text)
        os.replace(self.folder("table.md.new"), self.folder("table.md"))
        print(text)
        for failure in self.failures:
            print("failed: " + failure, file=sys.stderr)
        return 1 if self.failures else 0


def short(metric):
    return metric.split("/")[-1].replace("Recall", "R").replace("NDCG", "N")


def table(head, words, lines):
    """Markdown: the first `words` columns are text, the others numbers."""
    return "\n".join(["| " + " | ".join(cells) + " |" for cells in [head, ["---"] * words + ["--:"] * (len(head) - words), *lines]])


def manifest(folder):
    """Facts and numbers of a run's manifest.toml: plain `key = value` lines; {} where there is none."""
    out = {}
    path = os.path.join(folder, "manifest.toml")
    if not os.path.exists(path):
        return out
    block = False
    for line in open(path, encoding="utf-8"):
        line = line.rstrip("\n")
        if block or line.endswith("'''"):
            block = not block if line.endswith("'''") else block
            continue
        key, sign, value = line.partition(" = ")
        if not sign or value.startswith("["):
            continue
        key = key.strip('"')
        value = value.strip('"')
        try:
            out[key] = int(value) if value.lstrip("-").isdigit() else float(value)
        except ValueError:
            out[key] = value
    return out


def values_of(facts, name):
    return [f[name] for f in facts if name in f]


def mean_text(facts, name, digits):
    values = values_of(facts, name)
    return f"{sum(values) / len(values):.{digits}f}" if values else "-"


def spread(facts, name, with_deviation=True):
    values = values_of(facts, name)
    if not values:
        return "-"
    mean = sum(values) / len(values)
    text = f"{mean:.4f}"
    if with_deviation and len(values) > 1:
        text += f" +- {(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** .5:.4f}"
    return text.replace("0.", ".")


def p_text(p, metric):
    value = p.get(metric)
    return "" if value is None else " (<.0001)" if value < 1e-4 else f" ({value:.4f})".replace("0.", ".")
