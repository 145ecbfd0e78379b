"""One line that tells how far the notebook at work has come."""

import json
import math
import shutil
import sys
import time
from datetime import timedelta

LOG_EVERY = 15.0  # seconds between two lines where the output is a log and no terminal


def clock(seconds):
    """Format seconds as ``h:mm:ss``."""
    return str(timedelta(seconds=int(seconds)))


def training_progress(status, since):
    """Return what training last wrote to the JSON file `status`, or "" if nothing since the time `since`."""
    try:
        if status.stat().st_mtime < since:
            return ""
        told = json.loads(status.read_text(encoding="utf-8"))
        return f"{told['run']} epoch {told['epoch']}/{told['epochs']} {told['text']}".strip()
    except (OSError, ValueError, KeyError, TypeError):  # gone, or half written: there is nothing to tell
        return ""


class Line:
    """A rewritten line on a terminal; in a log a line now and then."""

    def __init__(self, title, stream=None):
        self.title, self.stream = title, stream or sys.stdout
        self.began, self.told = time.monotonic(), -math.inf

    def tell(self, *parts, last=False):
        """Show the time passed and the `parts` that are not empty; the `last` ends the line."""
        now, terminal = time.monotonic(), self.stream.isatty()
        if not (terminal or last or now - self.told >= LOG_EVERY):
            return
        self.told = now
        text = "  ".join([self.title, clock(now - self.began), *filter(None, parts)])
        if terminal:
            text = "\r\033[K" + text[: shutil.get_terminal_size().columns - 1]
        self.stream.write(text + ("\n" if last or not terminal else ""))
        self.stream.flush()
