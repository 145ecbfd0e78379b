"""A plan on a cluster: Debian's Slurm and munge, one node with two slots, started here; and on this machine alone."""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from helpers import training
from helpers.training.plan import read_plan
from helpers.training.store import prepare
from jobs.__main__ import main
from jobs.runs import find

PLAN = """
recipe: {data: toy3, network: mlp-8, lr: 0.05, batch_size: 90, val_size: 90, val_steps: 1, steps: 1, eps: 20, norm: l2}
models:
- {method: pgd, epochs: 600, val_every: 50, seed: [0, 1]}  # seconds, in which jobs are listed and killed
- {method: [ce, pgd], epochs: 2, seed: [2, 3, 4, 5, 6]}
"""
CONF = """
ClusterName=test
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
StateSaveLocation={folder}
SlurmdSpoolDir={folder}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
KillWait=1
NodeName={host} CPUs=2
PartitionName=main Nodes={host} Default=YES
"""
missing = [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if shutil.which(name) is None]
needs_slurm = pytest.mark.skipif(bool(missing) or os.geteuid() != 0,
                                 reason=f"needs root and Slurm (apt install slurm-wlm munge): no {missing or 'root'}")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture
def slurm(monkeypatch):
    """A cluster of one node with two slots, gone after the test."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)  # munged runs as a user of its own
    (folder / "munge").mkdir()
    (folder / "munge" / "key").write_bytes(os.urandom(1024))
    (folder / "munge" / "key").chmod(0o400)
    for path in (folder / "munge", folder / "munge" / "key"):
        shutil.chown(path, "munge", "munge")
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=socket.gethostname().split(".")[0], folder=folder, ports=free_ports(2)))
    monkeypatch.setenv("SLURM_CONF", str(conf))
    words = [f"--{name}={folder}/munge/{name.split('-')[0]}" for name in ("key-file", "socket", "pid-file", "log-file",
                                                                        "seed-file")]
    started = [subprocess.Popen(["munged", "--foreground", "--force", *words], user="munge")]
    try:
        wait_for(lambda: (folder / "munge" / "socket").exists(), 10)
        started += [subprocess.Popen([name, "-D"]) for name in ("slurmctld", "slurmd")]
        wait_for(lambda: "idle" in told("sinfo", "-h", "-o", "%T"), 30)
        yield
    finally:
        subprocess.run(["scancel", "--user=root"], capture_output=True)
        for process in reversed(started):
            process.terminate()
            process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def told(*words):
    return subprocess.run(words, capture_output=True, text=True).stdout


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.2)


@needs_slurm
def test_each_run_of_a_plan_is_trained_once_whatever_happens_to_its_job(slurm, tmp_path, monkeypatch, capsys):
    """One of twelve runs is killed, one requeued for another job.  Weights are those without Slurm."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    plan, store = tmp_path / "plan.yaml", tmp_path / "runs"
    plan.write_text(PLAN)
    words = [str(plan), "--store", str(store)]

    def command(*more):
        capsys.readouterr()
        assert main([*words, *more]) == 0
        return capsys.readouterr().out

    out = command("--slurm", "partition=main,time=10,parallel=2")
    assert len(out.split("submitted:")[1].split()) == 12
    wait_for(lambda: len(list(store.glob("*/checkpoint.pt"))) == 2, 120)
    out = command("--list")
    assert out.count("running") == 2 and out.count("pending") == 10
    assert "submitted" not in command("--slurm", "partition=main"), "what is queued is not submitted again"
    killed, moved = (file.parent / "job" for file in sorted(store.glob("*/checkpoint.pt")))
    subprocess.run(["scancel", "--full", "--signal=KILL", killed.read_text()], check=True)
    subprocess.run(["scontrol", "requeue", moved.read_text()], check=True)
    wait_for(lambda: f"{moved.read_text()} PENDING" in told("squeue", "-h", "-r", "-o", "%i %T"), 20)
    # A job that was requeued starts after two minutes, or when it is told to.
    subprocess.run(["scontrol", "update", f"JobId={moved.read_text()}", "StartTime=now"], check=True)
    wait_for(lambda: not told("squeue", "-h"), 300)
    out = command("--list")
    assert out.count("  done") == 11 and out.count("  failed, see ") == 1
    assert Path(out.split("failed, see ")[1].split()[0]).is_file()
    assert len(command("--slurm", "partition=main").split("submitted:")[1].split()) == 1
    wait_for(lambda: not told("squeue", "-h"), 120)
    assert command("--list").count("  done") == 12
    logs = [line for file in (store / ".jobs").glob("*_log.out") for line in file.read_text().splitlines()]
    for entry in read_plan(plan)[0]:
        label = entry.config.label
        assert sum(line.startswith(f"{label}: NE") for line in logs) == 1, label
        plain = training.train(entry.config, store=tmp_path / "plain", progress=False)
        folder = store / plain.folder.name
        facts = json.loads((folder / "provenance.json").read_text())
        assert (facts["resumed_after_epoch"] > 0) == (entry.config.epochs > 2)
        one, two = (load_file(place / "weights.safetensors") for place in (folder, plain.folder))
        assert all(torch.equal(one[name], two[name]) for name in one), label


def test_a_plan_on_this_machine_trains_some_runs_at_a_time(tmp_path, capsys):
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN.split("models:")[0] + "models: [{method: ce, epochs: 1, seed: [0, 1, 2]}]")
    words, first = [str(plan), "--store", str(tmp_path / "runs")], read_plan(plan)[0][0].config
    assert main([*words, "--run", prepare(first, None, tmp_path).folder.name]) == 0
    assert len(find(tmp_path / "runs")) == 1
    assert main([*words, "--local", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 of 2 runs trained"
    assert len(find(tmp_path / "runs")) == 3


def test_runs_at_a_time_share_the_minutes_that_are_given(tmp_path, capsys):
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN.split("models:")[0] + "models: [{method: pgd, epochs: 100000}, {method: pgd, epochs: 100000, "
                    "panel: again}, {method: ce, epochs: 1}]")
    words, began = [str(plan), "--store", str(tmp_path / "runs"), "--local", "1"], time.monotonic()
    assert main([*words, "--budget-minutes", "0.2"]) == 3 and time.monotonic() - began < 60
    assert capsys.readouterr().out.splitlines()[-2:] == ["0 of 2 runs trained",
                                                         "time is over: 2 runs are not finished; call again to resume"]
    assert find(tmp_path / "runs") == [] and len(list((tmp_path / "runs").glob("*/checkpoint.pt"))) == 1


def test_jobs_that_cannot_be_are_refused_in_a_sentence(tmp_path, capsys, monkeypatch):
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    words = [str(plan), "--store", str(tmp_path / "runs")]
    assert main([*words, "--run", "absent"]) == 2 and "has no run absent" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([*words, "--slurm", "time=5"]) == 2 and "Without Slurm, --local N" in capsys.readouterr().err
    assert main([*words, "--slurm", "time=5", "--budget-minutes", "5"]) == 2
    assert "--slurm time=60 gives each run an hour" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main([*words, "--local", "2"]) == 2 and "jobs need submitit" in capsys.readouterr().err


# --- one run, two processes -------------------------------------------------------------------------------------

CODE = """
import sys
from helpers import training
config = training.configure(data="toy3", network="mlp-8", epochs=20, lr=0.05, val_size=90, method="pgd", eps=20,
                            norm="l2", steps=1, val_steps=1)
run = training.train(config, store=sys.argv[1], progress=False)
print("loaded" if run.loaded else "trained")
"""


def test_of_two_processes_that_want_a_run_one_trains_and_the_other_loads_it(tmp_path):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = [subprocess.Popen([sys.executable, "-c", CODE, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=env)
               for _ in range(2)]
    assert sorted(process.communicate(timeout=100)[0].split()[-1] for process in started) == ["loaded", "trained"]
    assert not list(tmp_path.glob("*/.lock"))


def test_the_lock_of_a_dead_process_holds_nobody_up_and_that_of_a_living_one_does(tmp_path, capsys):
    config = training.configure(data="toy3", network="mlp-8", epochs=1, lr=0.05, val_size=90)
    folder = training.train(config, store=tmp_path / "other", progress=False).folder
    mine = tmp_path / "mine" / folder.name
    mine.mkdir(parents=True)
    hold = "import sys, filelock; a = filelock.FileLock(sys.argv[1]); a.acquire(); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold, str(mine / ".lock")], stdout=subprocess.PIPE,
                          stdin=subprocess.PIPE) as holder:
        holder.stdout.readline()
        with pytest.raises(training.OutOfTime, match="another process still trains it"):
            training.train(config, store=tmp_path / "mine", progress=False, deadline=time.monotonic() + 1)
        holder.kill()
    assert (mine / ".lock").exists() and training.train(config, store=tmp_path / "mine", progress=False).rows
    assert FileLock(mine / ".lock").acquire(timeout=0)
