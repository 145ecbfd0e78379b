"""Two processes, on a CPU: they share the data and the result, and go on as if nothing had stopped them."""
import json
import os
import socket
import subprocess
import sys

CODE = """import json, os, sys, time
from types import SimpleNamespace
from helpers import training
from helpers.training import loop

def train(store, late):
    clock, loop.time = iter(late), SimpleNamespace(monotonic=lambda: next(clock, 0.0), perf_counter=time.perf_counter)
    config = training.configure({"data": "stripes", "network": "W-10-1", "epochs": 3, "lr": 0.1, "batch_size": 16,
                                 "val_size": 16, "val_images": 12, "val_steps": 1}, method="pgd", eps=16, steps=2)
    return training.train(config, data_root=sys.argv[1], store=sys.argv[2] + store, progress=False, deadline=1e6)

runs = [train("whole", [])]
try:
    train("parts", [0.0, 1e9])
except training.OutOfTime:
    runs.append(train("parts", []))
told = [[run.model.classifier.weight.abs().sum().item(), run.metrics["train_loss"]] for run in runs]
with open(sys.argv[2] + os.environ["RANK"], "w") as file:
    json.dump(told, file)
"""


def test_two_processes_resume_each_with_its_own_noise_and_tell_one_loss(stripes, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    words = [sys.executable, "-P", "-c", CODE, str(stripes), f"{tmp_path}/"]
    started = [subprocess.Popen(words, env={**env, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True)
               for rank in "01"]
    try:
        assert [process.wait(100) for process in started] == [0, 0], started[0].stderr.read()
    finally:
        for process in started:
            process.kill()
            process.communicate()
    (whole, parts), (other, _) = (json.loads((tmp_path / rank).read_text()) for rank in "01")
    assert whole == parts == other
    assert len(list(tmp_path.glob("*/*/metrics.json"))) == 2
