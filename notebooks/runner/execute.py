"""Executes notebooks through papermill, one kernel each, as many at a time as asked, and keeps every executed copy."""
import json
import logging
import os
import re
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import chdir, suppress
from datetime import datetime
from pathlib import Path

import papermill
import psutil
from nbformat.v4 import new_output
from papermill.engines import NBClientEngine, papermill_engines

from helpers.files import write_atomic
from runner.live import Line, clock, training_progress

TICK = 0.25  # seconds between two looks at the progress
ADDED = "injected-parameters"  # papermill's tag for the cell that it adds


class _Watched(NBClientEngine):
    """Papermill's engine, which shows the notebooks at work: metadata.papermill of their cells is the progress."""

    notebooks = {}  # by the path of the copy

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **kwargs):
        cls.notebooks[nb_man.nb.metadata.papermill["output_path"]] = nb_man.nb
        try:
            super().execute_managed_notebook(nb_man, kernel_name, **kwargs)
        except Exception as error:  # the kernel died: tell it as papermill tells an error in a cell
            if not (started := _started(nb_man.nb)):
                raise
            told = new_output("error", ename=type(error).__name__, evalue=str(error), traceback=[])
            started[-1].outputs.append(told)


papermill_engines.register("watched", _Watched)


class Execution:
    """A notebook at work in a thread of `pool`, so that Ctrl-C is heard and the line stays live."""

    def __init__(self, pool, title, source, copy, parameters, folder, imports):
        self.title, self.source, self.copy, self.began = title, source, copy, time.monotonic()
        self.status = Path(folder) / f"{source.stem}.json"  # where training tells how far it is
        copy.unlink(missing_ok=True)
        # Papermill would take braces in a path for parameters.
        paths = [str(path).replace("{", "{{").replace("}", "}}") for path in (source, copy)]
        kernel = ["--IPKernelApp.log_level=50",  # its remarks would cut through the line
                  f"--IPKernelApp.exec_lines=import os; os.environ['WPGD_STATUS'] = {str(self.status)!r}; del os",
                  *(f"--IPKernelApp.exec_lines=__import__('runpy').run_path({file!r})" for file in imports)]
        self.work = pool.submit(papermill.execute_notebook, *paths, parameters, engine_name="watched",
                                kernel_name="python3", language="python", progress_bar=False, extra_arguments=kernel)

    def told(self, *texts):
        return "  ".join([self.title, clock(time.monotonic() - self.began), *filter(None, texts)])

    def position(self):
        """Return title, time, ``cell 3/12``, and what training has told since that cell began."""
        notebook = _Watched.notebooks.get(str(self.copy))
        if not (started := _started(notebook)):
            return self.told("starting the kernel")
        since = datetime.fromisoformat(started[-1].metadata.papermill["start_time"]).timestamp()
        return self.told(f"cell {len(started)}/{len(notebook.cells)}", training_progress(self.status, since))

    def problem(self, error):
        """Return the failing cell in the source notebook, the error's own message, and where the copy lies."""
        where, name, value = "", type(error).__name__, error
        if isinstance(error, papermill.PapermillExecutionError):
            index, name, value = error.cell_index, error.ename, error.evalue
            before = _Watched.notebooks[str(self.copy)].cells[: index + 1]
            added = sum(ADDED in cell.metadata.get("tags", ()) for cell in before)
            first = error.source.strip().splitlines()[0]
            where = f"  cell {index + 1 - added}, In [{error.exec_count or ' '}]: {first}\n"
        if isinstance(error, OSError):
            value = f"{value}: is there room and permission to write {self.copy}?"
        message = " ".join(f"{name}: {value}".split())
        if "Kernel died" in message:
            message += ". Most often the memory was too small: see the profile's batch and data sizes."
        return f"{where}  {message}\n  executed copy, with the failing cell linked: {self.copy}"


def run(options, results, parameters, repo):
    """Execute the notebooks that `options` choose, with `parameters`, {notebook: {parameter: value}}.

    `options.jobs` work at a time, which share the cores, and the models that more than one of them trains.
    Executed copies go to results/executed.  Returns {notebook: ("done", "failed" or "skipped", seconds)}.
    """
    outcomes = {source.stem: ("skipped", 0) for source in options.notebooks}
    waiting, working, line = list(enumerate(options.notebooks, start=1)), [], Line()
    if options.jobs > 1:  # the first for its reader, then the longest
        waiting[1:] = sorted(waiting[1:], key=lambda one: -_seconds(results, one[1].stem))
    _prepare_environment(options.jobs)
    with (tempfile.TemporaryDirectory(prefix="wpgd-") as folder, chdir(repo / "notebooks"),
          ThreadPoolExecutor(options.jobs) as pool):
        try:
            while waiting or working:
                while waiting and len(working) < options.jobs:
                    number, source = waiting.pop(0)
                    working.append(Execution(pool, f"[{number}/{len(options.notebooks)}] {source.stem}", source,
                                             results / "executed" / source.name, parameters[source.stem], folder,
                                             options.imports))
                line.tell(*(one.position() for one in working))
                wait([one.work for one in working], TICK, FIRST_COMPLETED)
                for one in [one for one in working if one.work.done()]:
                    working.remove(one)
                    strip_paths(one.copy, repo)
                    error = one.work.exception()
                    outcomes[one.source.stem] = "failed" if error else "done", time.monotonic() - one.began
                    line.end(one.told("FAILED" if error else "done"))
                    if error:
                        print(one.problem(error), flush=True)
                        waiting = waiting if options.keep_going else []
        except (KeyboardInterrupt, OSError) as stop:  # or nobody reads the line any more
            _end_kernels([one.work for one in working])
            for one in working:
                strip_paths(one.copy, repo)
                if isinstance(stop, KeyboardInterrupt):
                    line.end(one.told("interrupted"))
            raise
    return outcomes


def _prepare_environment(jobs):
    if jobs > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not one of the home folder
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # or each kernel prints a warning over the live line
    for name in ("WPGD_DATA", "WPGD_RUNS", "NLTK_DATA"):  # the kernels work in notebooks/, the reader elsewhere
        if os.environ.get(name):
            os.environ[name] = os.pathsep.join(map(os.path.abspath, os.environ[name].split(os.pathsep)))
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # failures are told here


def _seconds(results, notebook):
    """What a notebook took when it last ran, as its metrics say; 0 where none are."""
    try:
        return json.loads((results / f"metrics/{notebook}.json").read_text())["provenance"]["seconds"]
    except (OSError, ValueError, KeyError):
        return 0


def _started(notebook):
    return [cell for cell in notebook.cells if cell.metadata.get("papermill", {}).get("start_time")] if notebook else []


def _end_kernels(works, patience=10.0):
    """Kill this process's kernels, and all that they started, until papermill has noticed."""
    deadline = time.monotonic() + patience
    while wait(works, TICK).not_done and time.monotonic() < deadline:
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
