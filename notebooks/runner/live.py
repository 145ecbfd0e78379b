"""One line that tells how far the notebooks at work have come."""
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
    """A rewritten line on a terminal; in a log lines now and then."""

    def __init__(self, stream=None):
        self.stream, self.told = stream or sys.stdout, -math.inf

    def tell(self, *texts):
        """Show a text for each notebook at work, beside each other on a terminal."""
        now, terminal = time.monotonic(), self.stream.isatty()
        if texts and (terminal or now - self.told >= LOG_EVERY):
            self.told, width = now, (shutil.get_terminal_size().columns - 1) // len(texts)
            beside = " ".join(text[:width - 1].ljust(width - 1) for text in texts)
            self._write(beside.rstrip() if terminal else "\n".join([*texts, ""]))

    def end(self, text):
        """Show a text that stays."""
        self._write(text + "\n")

    def _write(self, text):
        self.stream.write("\r\033[K" * self.stream.isatty() + text)
        self.stream.flush()
