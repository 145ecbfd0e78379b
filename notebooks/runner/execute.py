"""Executes notebooks through papermill, one kernel each, and keeps every executed copy."""

import json
import logging
import os
import re
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runner.live import Line, training_progress

TICK = 0.25  # seconds between two looks at the progress


@dataclass
class Outcome:
    """What became of one notebook: status is done, failed or skipped; problem tells why it failed."""

    name: str
    status: str
    seconds: float = 0.0
    problem: str = ""


def run(options, profile, repo):
    """Execute the chosen notebooks and return an Outcome for each.

    Parameters
    ----------
    options : argparse.Namespace
        `runner.cli.parse`.
    profile : runner.profiles.Profile
        Gives the parameters.
    repo : Path
        The checkout; the kernels work in its ``notebooks/``.
    """
    outcomes = []
    results = options.results / profile.name
    with tempfile.TemporaryDirectory(prefix="wpgd-") as folder:
        _prepare_environment(status := Path(folder) / "status.json")
        for number, source in enumerate(options.notebooks, start=1):
            if not options.keep_going and any(outcome.status == "failed" for outcome in outcomes):
                outcomes.append(Outcome(source.stem, "skipped"))
                continue
            line = Line(f"[{number}/{len(options.notebooks)}] {source.stem}")
            values = profile.injected(source.stem, options)
            work = _Execution(source, values, results, repo)
            outcomes.append(work.watch(line, status))
            if work.problem:
                print(work.problem, flush=True)
    return outcomes


def _prepare_environment(status):
    """Set what the kernels inherit."""
    os.environ["WPGD_STATUS"] = str(status)
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not one of the home folder
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # or each kernel prints a warning over the live line
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # failures are told here


class _Execution:
    """One notebook, executed in a thread so that Ctrl-C reaches this process and the line stays live."""

    def __init__(self, source, values, results, repo):
        self.source = source
        self.values = values
        self.repo = repo
        self.copy = results / "executed" / source.name
        self.notebook = None  # papermill's, with the progress in each cell's metadata.papermill
        self.error = None
        self.problem = ""
        self.finished = (
            threading.Event()
        )  # a thread whose join() Ctrl-C interrupts counts as ended before it has

    def watch(self, line, status):
        """Run to the end and return the Outcome; if interrupted, or if nobody reads any more, end the kernel first."""
        self.copy.parent.mkdir(parents=True, exist_ok=True)
        self.copy.unlink(missing_ok=True)
        threading.Thread(target=self._work, daemon=True).start()
        try:
            while not self.finished.wait(TICK):
                cell, since = self._position()
                line.update(cell, training_progress(status, since))
        except (KeyboardInterrupt, BrokenPipeError) as stop:
            if isinstance(stop, KeyboardInterrupt):
                line.end("interrupted")
            _end_kernels(self.finished)
            raise
        finally:
            strip_paths(self.copy, self.repo)
        if self.error is None:
            line.end("done")
            return Outcome(self.source.stem, "done", line.seconds)
        line.end("FAILED")
        self.problem = self._describe()
        return Outcome(self.source.stem, "failed", line.seconds, self.problem)

    def _work(self):
        try:
            self._execute()
        except Exception as error:
            self.error = error
        finally:
            self.finished.set()

    def _execute(self):
        import papermill
        import papermill.execute
        from papermill.engines import NBClientEngine, papermill_engines

        class Watched(NBClientEngine):
            @classmethod
            def execute_managed_notebook(cls, nb_man, kernel_name, **kwargs):
                self.notebook = nb_man.nb
                return super().execute_managed_notebook(nb_man, kernel_name, **kwargs)

        papermill_engines.register("watched", Watched)
        try:
            papermill.execute_notebook(
                *(_literal_path(path) for path in (self.source, self.copy)),
                parameters=self.values,
                engine_name="watched",
                kernel_name="python3",
                language="python",
                progress_bar=False,
                cwd=str(self.source.parent),
                extra_arguments=["--IPKernelApp.log_level=50"],  # its remarks would cut through the live line
            )
        except papermill.PapermillExecutionError:
            raise
        except Exception:  # the kernel died, or did not start: mark the cell as papermill does for others
            if self._started():
                self._started()[-1].metadata.papermill["exception"] = True
                with suppress(papermill.PapermillExecutionError):
                    papermill.execute.raise_for_execution_errors(self.notebook, str(self.copy))
            raise

    def _started(self):
        cells = self.notebook.cells if self.notebook else []
        return [cell for cell in cells if cell.metadata.get("papermill", {}).get("start_time")]

    def _position(self):
        """Return ``"cell 3/12"`` and the time when that cell began."""
        started = self._started()
        if not started:
            return "starting the kernel", time.time()
        since = parse_time(started[-1].metadata.papermill["start_time"])
        return f"cell {len(started)}/{len(self.notebook.cells)}", since

    def _describe(self):
        """Return the failing cell, the error's own message, and where the executed copy lies."""
        message = f"{type(self.error).__name__}: {self.error}"
        if hasattr(self.error, "ename"):
            message = f"{self.error.ename}: {self.error.evalue}"
        message = " ".join(message.split())
        if "Kernel died" in message:
            message += ". Most often the memory was too small: see the profile's batch and data sizes."
        return (
            f"{self._failing_cell()}  {message}\n  executed copy, with the failing cell linked: {self.copy}"
        )

    def _failing_cell(self):
        """Return the number of the failing cell in the source notebook and its first line, or nothing."""
        failed = [cell for cell in self._started() if cell.metadata.papermill.get("exception")]
        if not failed:
            return ""
        before = self.notebook.cells[: self.notebook.cells.index(failed[0])]
        added = ("injected-parameters", "papermill-error-cell-tag")
        number = 1 + sum(not set(added) & set(cell.metadata.get("tags", [])) for cell in before)
        first = next((line.strip() for line in failed[0].source.splitlines() if line.strip()), "")
        return f"  cell {number}, In [{failed[0].execution_count or ' '}]: {first}\n"


def _literal_path(path):
    """Return the path as papermill takes it: it would format braces as parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def parse_time(text):
    """Return the seconds since the epoch of papermill's ISO time."""
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def _end_kernels(finished, patience=10.0):
    """Kill this process's kernels, and all that they started, until papermill has noticed."""
    import psutil

    deadline = time.monotonic() + patience
    while not finished.wait(TICK) and time.monotonic() < deadline:
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()


def strip_paths(copy, repo):
    """Make the paths of this machine in an executed copy relative to the checkout, or drop them.

    Executed copies are committed and must read the same wherever they were made.
    """
    if not copy.is_file():
        return
    root = json.dumps(str(repo), ensure_ascii=False)[1:-1]
    text = re.sub(rf"(?<![\w/.+-]){re.escape(root)}/", "", copy.read_text(encoding="utf-8"))
    notebook = json.loads(text)
    record = notebook["metadata"].get("papermill", {})
    for holder in (record, record.get("parameters", {})):
        for key in ("input_path", "output_path", "results", "data_root"):
            if os.path.isabs(holder.get(key) or ""):
                del holder[key]
    for cell in notebook["cells"]:
        if "injected-parameters" in cell["metadata"].get("tags", []):
            lines = "".join(cell["source"]).splitlines(keepends=True)
            cell["source"] = [line for line in lines if not re.match(r"(results|data_root) = ['\"]/", line)]
    part = copy.with_suffix(".part")
    part.write_text(json.dumps(notebook, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    part.replace(copy)
