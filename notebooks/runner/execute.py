"""Executes notebooks through papermill, one kernel each, and keeps every executed copy."""

import json
import logging
import os
import re
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import papermill
import psutil
from nbformat.v4 import new_output
from papermill.engines import NBClientEngine, papermill_engines

from helpers.files import write_atomic
from runner.live import Line, training_progress

TICK = 0.25  # seconds between two looks at the progress
ADDED = "injected-parameters"  # papermill's tag for the cell that it adds


class _Watched(NBClientEngine):
    """Papermill's engine, which shows the notebook at work: metadata.papermill of its cells is the progress."""

    notebook = None

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **kwargs):
        _Watched.notebook = nb_man.nb
        try:
            super().execute_managed_notebook(nb_man, kernel_name, **kwargs)
        except Exception as error:  # the kernel died: tell it as papermill tells an error in a cell
            if not _started():
                raise
            told = new_output("error", ename=type(error).__name__, evalue=str(error), traceback=[])
            _started()[-1].outputs.append(told)


papermill_engines.register("watched", _Watched)


def run(options, results, parameters, repo):
    """Execute the notebooks that `options` choose, with `parameters`, {notebook: {parameter: value}}.

    Executed copies go to results/executed.  Returns {notebook: ("done", "failed" or "skipped", seconds)}.
    """
    outcomes = {}
    with tempfile.TemporaryDirectory(prefix="wpgd-") as folder:
        os.environ["WPGD_STATUS"] = str(Path(folder) / "status.json")  # where training tells how far it is
        os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not one of the home folder
        os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # or each kernel prints a warning over the live line
        for name in ("WPGD_DATA", "WPGD_RUNS", "NLTK_DATA"):  # the kernels work in notebooks/, the reader elsewhere
            if os.environ.get(name):
                os.environ[name] = os.pathsep.join(map(os.path.abspath, os.environ[name].split(os.pathsep)))
        logging.getLogger("papermill").setLevel(logging.CRITICAL)  # failures are told here
        for number, source in enumerate(options.notebooks, start=1):
            if not options.keep_going and any(status == "failed" for status, _ in outcomes.values()):
                outcomes[source.stem] = "skipped", 0
                continue
            line = Line(f"[{number}/{len(options.notebooks)}] {source.stem}")
            copy = results / "executed" / source.name
            copy.unlink(missing_ok=True)
            try:
                error = _execute(source, copy, parameters[source.stem], line)
            finally:
                strip_paths(copy, repo)
            outcomes[source.stem] = "failed" if error else "done", time.monotonic() - line.began
            line.tell("FAILED" if error else "done", last=True)
            if error:
                print(_problem(error, copy), flush=True)
    return outcomes


def _execute(source, copy, parameters, line):
    """Execute one notebook, in a thread so that Ctrl-C is heard and the line stays live; return its error or None."""
    _Watched.notebook = None
    # Papermill would take braces in a path for parameters.
    paths = [str(path).replace("{", "{{").replace("}", "}}") for path in (source, copy)]
    quiet = ["--IPKernelApp.log_level=50"]  # the kernel's remarks would cut through the line
    work = ThreadPoolExecutor(1).submit(
        papermill.execute_notebook, *paths, parameters, engine_name="watched", kernel_name="python3",
        language="python", progress_bar=False, cwd=source.parent, extra_arguments=quiet)
    try:
        while wait([work], TICK).not_done:
            line.tell(*_position())
    except (KeyboardInterrupt, OSError) as stop:  # or nobody reads the line any more
        _end_kernels(work)
        if isinstance(stop, KeyboardInterrupt):
            line.tell("interrupted", last=True)
        raise
    return work.exception()


def _started():
    cells = _Watched.notebook.cells if _Watched.notebook else []
    return [cell for cell in cells if cell.metadata.get("papermill", {}).get("start_time")]


def _position():
    """Return ``"cell 3/12"`` and what training has told since that cell began."""
    if not (started := _started()):
        return ("starting the kernel",)
    since = datetime.fromisoformat(started[-1].metadata.papermill["start_time"]).timestamp()
    told = training_progress(Path(os.environ["WPGD_STATUS"]), since)
    return f"cell {len(started)}/{len(_Watched.notebook.cells)}", told


def _problem(error, copy):
    """Return the failing cell in the source notebook, the error's own message, and where the copy lies."""
    where, name, value = "", type(error).__name__, error
    if isinstance(error, papermill.PapermillExecutionError):
        index, name, value = error.cell_index, error.ename, error.evalue
        added = sum(ADDED in cell.metadata.get("tags", ()) for cell in _Watched.notebook.cells[: index + 1])
        first = error.source.strip().splitlines()[0]
        where = f"  cell {index + 1 - added}, In [{error.exec_count or ' '}]: {first}\n"
    if isinstance(error, OSError):
        value = f"{value}: is there room and permission to write {copy}?"
    message = " ".join(f"{name}: {value}".split())
    if "Kernel died" in message:
        message += ". Most often the memory was too small: see the profile's batch and data sizes."
    return f"{where}  {message}\n  executed copy, with the failing cell linked: {copy}"


def _end_kernels(work, patience=10.0):
    """Kill this process's kernels, and all that they started, until papermill has noticed."""
    deadline = time.monotonic() + patience
    while wait([work], TICK).not_done and time.monotonic() < deadline:
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()


def strip_paths(copy, repo):
    """Make this machine's paths in an executed copy relative to the checkout, or drop them: copies are committed."""
    root = json.dumps(str(repo), ensure_ascii=False)[1:-1]
    try:
        notebook = json.loads(re.sub(rf"(?<![\w/.+-]){re.escape(root)}/", "", copy.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # not there, or half written on a full disk: papermill's own error says so
        return
    record = notebook["metadata"].get("papermill", {})
    for holder in (record, record.get("parameters", {})):
        for key in [key for key, value in holder.items() if isinstance(value, str) and os.path.isabs(value)]:
            del holder[key]
    for cell in notebook["cells"]:
        if ADDED in cell["metadata"].get("tags", ()):
            kept = [line for line in cell["source"] if not re.match(r"\w+ = ['\"]/", line)]
            cell["source"] = "".join(kept).replace("}, {", "},\n    {").splitlines(keepends=True)  # a model a line
    write_atomic(copy, json.dumps(notebook, ensure_ascii=False, indent=1) + "\n")
