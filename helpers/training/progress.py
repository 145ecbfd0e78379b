"""How far a run is: a line of text in a notebook or terminal, one an epoch in a log, a status file for `run_all.sh`."""
import json
import math
import os
import sys
from contextlib import suppress

from helpers.files import write_atomic


class Progress:
    """Tell of each validated epoch; `done`: epochs that were done before; `show`: whether to tell at all."""

    def __init__(self, run, done, show):
        from tqdm import tqdm  # text, in a notebook too: a widget is lost with its tab
        self.label, self.epochs = run.config.label, run.config.epochs
        self.status = os.environ.get("WPGD_STATUS") if show else None
        # ipykernel may be imported without a notebook (papermill does); only a notebook's shell has a kernel.
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        notebook = getattr(shell, "kernel", None) is not None
        # Under the runner, output goes into the executed notebook: there a bar would be litter.
        show, watched = show and not self.status, sys.stderr.isatty() or notebook
        self.lines = show and not watched
        self.bar = tqdm(total=self.epochs, initial=done, desc=self.label, unit="epoch", leave=False,
                        disable=not (show and watched), **({"file": sys.stdout, "ncols": 110} if notebook else {}))
        self._write_status(done, "")

    def update(self, row):
        """Tell what a row of the history says; whoever cannot be told any more is no reason to stop."""
        epoch, text = row["epoch"], f"loss {row['train_loss']:.3f}  NE {row['val_ne']:.1f} %"
        text += "" if math.isnan(row["val_ae"]) else f"  AE {row['val_ae']:.1f} %"
        self._write_status(epoch, text)
        with suppress(OSError, ValueError):  # a terminal that was closed, a letter that it lacks
            if self.lines:
                print(f"{self.label}  epoch {epoch}/{self.epochs}  {text}  {row['seconds']:.0f} s", flush=True)
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(epoch - self.bar.n)
            if epoch == self.epochs:
                self.bar.close()

    def _write_status(self, epoch, text):
        if self.status:
            with suppress(OSError):
                status = {"run": self.label, "epoch": epoch, "epochs": self.epochs, "text": text}
                write_atomic(self.status, json.dumps(status))
