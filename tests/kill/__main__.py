"""Kills training and writing at random times and at each system call: `PYTHONPATH=.:tests python -P tests/kill`.

Writes `result.json` beside this file: how many kills, and whether anything differs from what nobody killed, or is left.
Needs Linux, and strace for the system calls; ten minutes.  `tests/test_kill.py` does the calls alone.
"""
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support import write_npz

from helpers import attacks, evaluation, training
from helpers.files import write_atomic

RECIPE = {"data": "stripes", "network": "W-10-1", "epochs": 4, "lr": 0.05, "batch_size": 16, "val_size": 16,
          "val_images": 12, "val_steps": 2, "method": "pgd", "eps": 8, "steps": 2, "ema": 0.9}
TIMES = ("seconds", "images_per_second", "compile_seconds")  # of a metrics.json


def work(root, store):
    """Train a run and attack it by two attacks, from wherever the last process was killed."""
    run = training.train(training.configure(RECIPE), data_root=root, store=store, progress=False)
    for steps in (2, 3):
        evaluation.evaluate_run(run, attacks.PGD(8 / 255, steps), limit=12)


def told(root, store):
    """What was computed, without times: the digest of the weights, metrics, history, answers; and what is left over."""
    work(root, store)
    (folder,) = (path for path in store.iterdir() if path.is_dir())
    metrics = json.loads((folder / "metrics.json").read_text())
    found = {"weights": hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest(),
             "metrics": {name: value for name, value in metrics.items() if name not in TIMES},
             "history": [line.rsplit(",", 1)[0] for line in (folder / "history.csv").read_text().splitlines()],
             "answers": sorted(path.name for path in (folder / "evaluations").iterdir())}
    left = [path.name for path in folder.rglob("*") if path.suffix in (".part", ".pt", ".tmp")]
    return found, left


def child(task, *words):
    """Run task(*words) in a process of its own, which waits for a line on its pipe; returns (pid, pipe)."""
    read, write = os.pipe()
    if pid := os.fork():
        os.close(read)
        return pid, write
    try:
        os.close(write)
        os.read(read, 1)
        task(*words)
    except BaseException as error:
        print(f"a process failed: {error!r}", file=sys.stderr)
        os._exit(1)
    os._exit(0)


def asked(task, *words):
    """The result of a task in a process of its own: this one must never train, since it forks."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        pid, pipe = child(lambda: out.write_text(json.dumps(task(*words))))
        os.write(pipe, b"\n")
        os.close(pipe)
        os.waitpid(pid, 0)
        return json.loads(out.read_text())


def random_kills(root, kills, seed=0):
    """Kill `work` at random times until that was done so often; each run that survives is compared."""
    rng, (whole, _), began = random.Random(seed), asked(told, root, root / "whole"), time.monotonic()
    asked(told, root, root / "timed")
    longest, count, runs, bad = time.monotonic() - began, 0, 0, []
    while count < kills:
        store = root / f"killed {runs}"
        for _ in range(rng.randint(1, 8)):  # one run is killed so often
            if count == kills:
                break
            pid, pipe = child(work, root, store)
            os.write(pipe, b"\n")
            os.close(pipe)
            time.sleep(rng.uniform(0, longest))
            os.kill(pid, signal.SIGKILL)
            count += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        found, left = asked(told, root, store)
        runs += 1
        bad += [str(store.name)] * (found != whole) + left
        shutil.rmtree(store)
    return {"kills": count, "runs": runs, "different or left": bad}


def slowly(file):
    for part in (b"new ", b"content ", b"in three writes"):
        file.write(part)
        file.flush()


OLD, NEW = b"old content", b"new content in three writes"
WRITES = {"a new file": None, "over an old file": OLD}


def write(path):
    """The one way in which a file reaches the disk."""
    write_atomic(path, slowly)


def at_call(call, task, *words):
    """Run a task, killed as it enters a system call, (name, its number among those of this name), or None; returns the
    system calls that it made.
    """
    pid, pipe = child(task, *words)
    inject = ["-e", f"inject={call[0]}:signal=SIGKILL:when={call[1]}"] if call else []
    with tempfile.TemporaryFile("w+") as log:
        tracer = subprocess.Popen(["strace", "-f", "-p", str(pid), *inject], stderr=log)
        while "attached" not in (log.seek(0), log.read())[1]:
            time.sleep(0.01)
        os.write(pipe, b"\n")
        os.close(pipe)
        os.waitpid(pid, 0)
        tracer.wait()
        log.seek(0)
        names = re.findall(r"^(?:\[pid +\d+\] )?(\w+)\(", log.read(), re.MULTILINE)
    return [(name, names[:index + 1].count(name)) for index, name in enumerate(names)]


def each_call(root, every=1):
    """Kill a write at each of its system calls: the file is the old or the new one, and the next write as ever."""
    result = {}
    for name, before in WRITES.items():
        folder = root / name
        folder.mkdir()
        file, killed, bad = folder / "weights", 0, []
        calls = at_call(None, write, file)[1:]  # but for the waiting
        for call in calls[::every]:
            file.unlink(missing_ok=True)
            if before is not None:
                file.write_bytes(before)
            at_call(call, write, file)
            after = file.read_bytes() if file.exists() else None
            killed += after != NEW
            bad += [f"{call}: {after}"] if after not in (before, NEW) else []
            write(file)
            bad += [f"{call} left {path.name}" for path in folder.iterdir() if path != file]
            bad += [f"after {call}: {file.read_bytes()}"] if file.read_bytes() != NEW else []
        result[name] = {"system calls": len(calls), "killed before it was whole": killed, "wrong or left": bad}
    return result


def main(kills=60, every=1):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_npz(root, "stripes")
        result = {"training, killed at random times": random_kills(root, kills)}
        if shutil.which("strace"):
            result["a write, killed at each system call"] = each_call(root, every)
        return result


if __name__ == "__main__":
    found = main()
    Path(__file__).with_name("result.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
