"""Shared by all tests: one thread a process, a tiny data set, a seeded generator."""
import os

import pytest
import torch
from support import write_npz

# Tiny networks lose time on a second thread, and bit-for-bit comparisons want a fixed number of them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)


# Files that take half a minute and more begin first, so that no worker of `--dist loadfile` ends alone.
SLOWEST = [f"test_{name}.py" for name in ("slurm", "notebooks", "jupyterlab", "benchmarks", "processes", "report",
                                          "setup", "runner", "training_compiling", "documents", "notebook_07")]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: SLOWEST.index(item.path.name) if item.path.name in SLOWEST else len(SLOWEST))


@pytest.fixture(scope="session")
def stripes(tmp_path_factory):
    """Folder with `stripes.npz`: 3 classes of 16 x 16 grey images, 64 train and 24 test."""
    root = tmp_path_factory.mktemp("data")
    write_npz(root, "stripes")
    return root


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)
