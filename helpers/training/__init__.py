"""Train CE, PGD and WPGD models (Sec. 5.2) and keep them as runs on disk.

`train(config)` returns a run: at once if it is finished, from its last epoch if it was killed; `train_models` a table
of those of a profile, which `python -m helpers.training PROFILE` trains without a notebook.
"""
from helpers.training.config import TrainConfig, configure
from helpers.training.launch import OutOfTime
from helpers.training.loop import train
from helpers.training.parts import register
from helpers.training.plan import expand, train_models
from helpers.training.store import Run, default_store, load_model

__all__ = ["OutOfTime", "Run", "TrainConfig", "configure", "default_store", "expand", "load_model",
           "register", "train", "train_models"]
