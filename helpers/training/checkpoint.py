"""What resuming needs, written after every epoch: a kill at any moment leaves the old file or the new one, whole.

All of it is the same in every process, so that a run may be resumed by fewer or more of them.  The file ends with the
SHA-256 of the rest and of the run's name: what training did not write for this run is not taken.
"""
import hashlib
import io

import torch

from helpers.files import write_atomic
from helpers.training.launch import on_main


def save(trainer):
    """Write the state of a `Trainer`."""
    folder, average, content = trainer.run.folder, trainer.average, io.BytesIO()
    torch.save({"epoch": trainer.epoch, "seconds": trainer.seconds, "rows": trainer.run.rows, "parts": trainer.parts,
                "model": trainer.model.state_dict(), "average": average and average.state_dict(),
                "optimizer": trainer.optimizer.state_dict(), "order": trainer.order.get_state(),
                "noise": trainer.noise.get_state()}, content)
    write_atomic(folder / "checkpoint.pt", sealed(content.getvalue(), folder))


def sealed(content, folder):
    """The bytes of a checkpoint of a run, with the digest that says so."""
    return content + hashlib.sha256(folder.name.encode() + content).digest()


def resume(trainer):
    """Let a new `Trainer` go on from the checkpoint of its run; False, perhaps half done, for one that is of no use."""
    folder = trainer.run.folder
    try:
        content = on_main((folder / "checkpoint.pt").read_bytes)
        if sealed(content[:-32], folder) != content:
            raise ValueError("it is damaged, or training did not write it for this run")
        saved = torch.load(io.BytesIO(content[:-32]), "cpu", weights_only=True)
        # What the config decides, momentum and weight decay, is not the checkpoint's to say.
        saved["optimizer"]["param_groups"] = trainer.optimizer.state_dict()["param_groups"]
        for name in ("model", "optimizer", *(["average"] if trainer.average else [])):
            getattr(trainer, name).load_state_dict(saved[name])
        for name in ("order", "noise"):
            getattr(trainer, name).set_state(saved[name])
        trainer.epoch, trainer.seconds = saved["epoch"], saved["seconds"]
        trainer.run.rows, trainer.parts = saved["rows"], saved["parts"]
    except FileNotFoundError:
        pass
    except Exception as error:  # of torch, of another version of it, of ours: none is worth more than the run
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        print(f"{folder.name}: the checkpoint cannot be read ({reason}); training starts again")
        return False
    return True
