"""Train CE, PGD and WPGD models (Sec. 5.2) and keep them as runs on disk.

`train(config)` returns a run: at once if it is finished, from its last epoch if it was killed; `expand` says
which runs a profile asks for, and `python -m helpers.training PROFILE` trains them.
"""
from helpers.training.config import TrainConfig, configure
from helpers.training.launch import OutOfTime
from helpers.training.loop import train
from helpers.training.parts import register
from helpers.training.plan import expand
from helpers.training.store import Run, default_store, load_model, weights_of

__all__ = ["OutOfTime", "Run", "TrainConfig", "configure", "default_store", "expand", "load_model", "register",
           "train", "weights_of"]
