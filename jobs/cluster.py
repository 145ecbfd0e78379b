"""The runs of a plan as jobs, through submitit (an optional extra): on a Slurm cluster, or some at a time here.

A job trains one run as `python -m jobs PLAN --run NAME` does.  Ended by its time limit, or for another job,
it is put into the queue again and resumes; submitit's files and the logs lie in ``<store>/.jobs/``.
"""
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import torch

from helpers.files import write_atomic
from helpers.training.store import being_trained

OPTIONS = {"time": "timeout_min", "gpus": "gpus_per_node", "cpus": "cpus_per_task", "mem": "mem_gb",
           "parallel": "slurm_array_parallelism"}
LONG = 60 * 24 * 365  # minutes
OUT_OF_TIME = 3  # the exit status of a job whose run is to be resumed


class Job:
    """What submitit calls on the machine that trains, in one process a GPU: the command with these words."""

    def __init__(self, words):
        self.words = words

    def __call__(self):
        import submitit

        from jobs.__main__ import main
        if submitit.JobEnvironment().num_tasks > 1:
            submitit.helpers.TorchDistributedEnvironment().export()
        if (status := main(self.words)) not in (0, OUT_OF_TIME):
            raise RuntimeError(f"it ended with status {status}")
        return status

    def checkpoint(self):
        """What to do when it is started again: the same, which resumes."""
        import submitit
        return submitit.helpers.DelayedSubmission(self)


def submit(words, folders, store, settings):
    """Give each run a job on the cluster; returns their ids.

    Parameters
    ----------
    words : of the command; folders : of the runs
    settings : str, such as "partition=gpu,time=60,gpus=1,parallel=8": minutes and GPUs a run, how many at a time;
        further words are those of sbatch
    """
    given = dict(pair.partition("=")[::2] for pair in settings.split(",") if pair)
    given = {OPTIONS.get(name, f"slurm_{name}"): int(value) if value.isdigit() else value
             for name, value in given.items()}
    executor = _executor(store, "slurm")
    try:
        executor.update_parameters(name="wpgd", tasks_per_node=max(1, given.get("gpus_per_node", 1)), **given)
        with executor.batch():
            jobs = [executor.submit(Job([*words, "--run", folder.name])) for folder in folders]
    except Exception as error:  # of submitit, whose kinds are many, and of sbatch
        raise ValueError(f"--slurm {settings}: {' '.join(str(error).split())}") from None
    for folder, job in zip(folders, jobs):
        write_atomic(folder / "job", job.job_id)
    return [job.job_id for job in jobs]


def work_here(words, folders, store, number, deadline=None):
    """Train runs on this machine, `number` at a time, each on a GPU of its own where there are several.

    Returns the names of those that failed, and of those for which the time until `deadline`, of `time.monotonic()`, did
    not suffice.
    """
    free, failed, late, gpus = SimpleQueue(), [], [], torch.cuda.device_count()
    for place in range(number):
        executor = _executor(store, "local")
        gpu = {"gpus_per_node": 1, "visible_gpus": (place % gpus,)} if gpus else {}
        executor.update_parameters(timeout_min=LONG, **gpu)
        free.put(executor)

    def work(folder):
        executor = free.get()
        try:
            left = None if deadline is None else (deadline - time.monotonic()) / 60
            if left is not None and left <= 0:  # no process is started in vain
                late.append(folder.name)
                return
            budget = [] if left is None else [f"--budget-minutes={left}"]
            job = executor.submit(Job([*words, *budget, "--run", folder.name]))
            write_atomic(folder / "job", job.job_id)
            if job.exception() is not None:  # waits
                failed.append(folder.name)
            elif job.result() == OUT_OF_TIME:
                late.append(folder.name)
        finally:
            free.put(executor)

    with ThreadPoolExecutor(number) as pool:
        list(pool.map(work, folders))
    return failed, late


def states(folders):
    """What a folder's run is about: "running", "pending" as Slurm has it, "failed" with its log, or "" for nothing."""
    queued = {}
    if shutil.which("squeue"):
        told = subprocess.run(["squeue", "--me", "-h", "-r", "-o", "%i %T"], capture_output=True, text=True)
        queued = dict(line.split(maxsplit=1) for line in told.stdout.splitlines())
    return [_state(folder, queued) for folder in folders]


def _state(folder, queued):
    job = (folder / "job").read_text() if (folder / "job").is_file() else None
    if being_trained(folder):
        return "running"
    if job in queued:
        return queued[job].lower()
    logs = folder.parent / ".jobs" / f"{job}_0_log.err"
    return f"failed, see {logs}" if logs.is_file() else ""


def _executor(store, cluster):
    try:
        import submitit
    except ImportError:
        raise ValueError("jobs need submitit: pip install submitit, or wpgd[cluster]") from None
    try:
        return submitit.AutoExecutor(store / ".jobs", cluster=cluster, slurm_max_num_timeout=1000)
    except RuntimeError as error:
        raise ValueError(f"{error} Without Slurm, --local N trains N runs at a time") from None
