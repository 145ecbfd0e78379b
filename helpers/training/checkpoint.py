"""What resuming needs, written after every epoch: a kill at any moment leaves the old file or the new one, whole.

All of it is the same in every process, so that a run may be resumed by fewer or more of them.
"""
import io
from functools import partial

import torch

from helpers.files import write_atomic
from helpers.training.launch import on_main


def save(trainer):
    """Write the state of a `Trainer`."""
    folder, cost, average = trainer.run.folder, trainer.run.cost, trainer.average
    if cost is not None and not (folder / "cost.csv").is_file():
        cost.to_csv(folder / "cost.csv")
    state = {"run": folder.name, "epoch": trainer.epoch, "seconds": trainer.seconds, "rows": trainer.run.rows,
             "parts": trainer.parts, "model": trainer.model.state_dict(), "average": average and average.state_dict(),
             "optimizer": trainer.optimizer.state_dict(), "order": trainer.order.get_state(),
             "noise": trainer.noise.get_state()}
    content = io.BytesIO()  # first: writing to a full disk, torch says "unexpected pos 64 vs 0"
    torch.save(state, content)
    write_atomic(folder / "checkpoint.pt", content.getbuffer())


def resume(trainer):
    """Let a new `Trainer` go on from the checkpoint of its run; False, perhaps half done, for one that is of no use."""
    folder = trainer.run.folder
    try:
        _take(trainer, on_main(partial(torch.load, folder / "checkpoint.pt", "cpu", weights_only=True)))
    except FileNotFoundError:
        pass
    except Exception as error:  # of torch, pickle, the archive, `_take`: none of them is worth more than the run
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        print(f"{folder.name}: the checkpoint cannot be read ({reason}); training starts again")
        return False
    return True


def _take(trainer, saved):
    """Take over a checkpoint, or raise what is wrong with it."""
    config, optimizer = trainer.config, trainer.optimizer
    epoch, last = saved["epoch"], config.epochs
    due = [number for number in range(1, epoch + 1) if number % config.val_every == 0]
    if (saved["run"] != trainer.run.folder.name or not 0 < epoch < last
            or [row["epoch"] for row in saved["rows"]] != due):
        raise ValueError(f"it is of epoch {epoch} of {saved['run']}, not of one below {last}")
    # Everything but what the config decides: momentum and weight decay are not the checkpoint's to say.
    saved["optimizer"]["param_groups"] = optimizer.state_dict()["param_groups"]
    for part in ("model", "optimizer", *(["average"] if trainer.average else [])):
        getattr(trainer, part).load_state_dict(saved[part])
    learned = list(trainer.model.parameters())
    kept = [(one, value) for one in learned for value in optimizer.state[one].values() if torch.numel(value) > 1]
    numbers = (*(value for _, value in kept), *trainer.result.state_dict().values(), *learned)
    stateless = config.optimizer == "sgd" and not config.momentum
    if not (stateless or len(saved["optimizer"]["state"]) == len(learned)) or any(
            value.shape != one.shape for one, value in kept) or not all(one.isfinite().all() for one in numbers):
        raise ValueError("its numbers are not finite, or of another network")
    trainer.order.set_state(saved["order"])
    trainer.noise.set_state(saved["noise"])
    trainer.epoch, trainer.seconds, trainer.run.rows = epoch, float(saved["seconds"]), saved["rows"]
    trainer.parts = saved["parts"]
