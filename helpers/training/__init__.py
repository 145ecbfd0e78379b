"""Train CE, PGD and WPGD models (Sec. 5.2) and keep them as runs on disk.

`train(config)` returns a run: at once if it is finished, from its last epoch if it was killed.
`python -m helpers.training PLAN.yaml` works through a list of them.
"""
from helpers.provenance import provenance
from helpers.training.config import TrainConfig, configure
from helpers.training.export import export_model, load_model
from helpers.training.loop import OutOfTime, train
from helpers.training.plan import expand, train_models
from helpers.training.store import Run, default_store, find

__all__ = ["OutOfTime", "Run", "TrainConfig", "configure", "default_store", "expand", "export_model", "find",
           "load_model", "provenance", "train", "train_models"]
