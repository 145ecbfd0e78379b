"""One line that tells how far the notebook at work has come."""

import json
import shutil
import sys
import time

LOG_EVERY = 15.0  # seconds between two lines where the output is a log and no terminal


def clock(seconds):
    """Format seconds as ``m:ss`` or ``h:mm:ss``."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def training_progress(status, since):
    """Return what training last wrote to the file `status`, or "" if nothing since the time `since`.

    The file is the one that WPGD_STATUS names: JSON with run, epoch, epochs, text. It may be gone or half
    written at any moment; then there is nothing to tell.
    """
    try:
        if status.stat().st_mtime < since:
            return ""
        told = json.loads(status.read_text(encoding="utf-8"))
        parts = [told.get("run"), f"epoch {told['epoch']}/{told['epochs']}", told.get("text")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return " ".join(str(part) for part in parts if part)


class Line:
    """A rewritten line on a terminal; in a log a line now and then."""

    def __init__(self, title, stream=None):
        self.title = title
        self.stream = stream or sys.stdout
        self.terminal = self.stream.isatty()
        self.start = self.last = time.monotonic()
        self._write("started" if not self.terminal else "")

    @property
    def seconds(self):
        """Seconds since the line began."""
        return time.monotonic() - self.start

    def update(self, *parts):
        """Show the progress `parts`; empty ones are left out."""
        if self.terminal or time.monotonic() - self.last >= LOG_EVERY:
            self.last = time.monotonic()
            self._write("  ".join([clock(self.seconds), *(part for part in parts if part)]))

    def end(self, verdict):
        """Close the line with the final `verdict`."""
        self._write(f"{clock(self.seconds)}  {verdict}")
        if self.terminal:
            self.stream.write("\n")
            self.stream.flush()

    def _write(self, text):
        text = f"{self.title}  {text}"
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            text = f"\r\033[K{text[:width]}"
        else:
            text += "\n"
        self.stream.write(text)
        self.stream.flush()
