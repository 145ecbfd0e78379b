"""Tell how far a run is: a bar in a notebook, a line an epoch in a log, a status file for `run_all.sh`."""
import json
import math
import os
import sys


class Progress:
    """Context manager around a run's epochs.

    Parameters
    ----------
    label : str; epochs : int; done : int, epochs done before; show : bool
    """

    def __init__(self, label, epochs, done, show):
        self.label, self.epochs, self.done = label, epochs, done
        self.status = os.environ.get("WPGD_STATUS") if show else None
        # Under the runner, output goes into the executed notebook: there a bar would be litter.
        self.show = show and not self.status
        self.bar = None

    def __enter__(self):
        if self.show and (_in_notebook() or sys.stderr.isatty()):
            from tqdm.auto import tqdm
            self.bar = tqdm(total=self.epochs, initial=self.done, desc=self.label, unit="epoch", leave=False)
        self._write_status(self.done, "")
        return self

    def update(self, epoch, row):
        text = f"loss {row['train_loss']:.3f}  NE {row['val_ne']:.1f} %"
        text += "" if math.isnan(row["val_ae"]) else f"  AE {row['val_ae']:.1f} %"
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(epoch - self.bar.n)
        elif self.show:
            print(f"{self.label}  epoch {epoch}/{self.epochs}  {text}  {row['seconds']:.0f} s", flush=True)
        self._write_status(epoch, text)

    def _write_status(self, epoch, text):
        if self.status:
            temporary = f"{self.status}.tmp"
            with open(temporary, "w") as file:
                json.dump({"run": self.label, "epoch": epoch, "epochs": self.epochs, "text": text}, file)
            os.replace(temporary, self.status)

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.close()


def _in_notebook():
    # ipykernel may be imported without a notebook (papermill does); only a notebook's shell has a kernel.
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None
