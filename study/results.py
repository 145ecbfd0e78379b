"""What a notebook leaves behind: figures with the numbers in them, tables, verdicts, the comparison with the paper.

    <results>/<profile>/figures/fig10.png .pdf .csv   tables/table2.csv   metrics/<notebook>.json (provenance)
                        claims.csv                    paper_vs_ours.csv
    <results>/mine/<profile>-<what was changed>/      the same of a notebook whose parameters are not its profile's

Every result is a tidy DataFrame, one row an observation, an `Interval` in a cell; on disk a column x of intervals
becomes "x", "x low", "x high". Numbers have six significant digits there.
"""
import ast
import hashlib
import importlib.metadata
import io
import json
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path

import pandas as pd
from filelock import FileLock
from PIL import Image, PngImagePlugin

from helpers.files import write_atomic
from helpers.intervals import Interval
from helpers.provenance import SOURCES, commit, provenance, source_digest
from study import claims as verdicts

PROFILES = ("smoke", "quick", "sprint", "reduced-cifar10", "reduced-8-steps", "reduced", "reduced-wide", "paper",
            "long")  # from small to large; a sprint has few of the models
COMPARED = ("quantity", "paper", "ours", "unit", "note")
REPO_ROOT = Path(__file__).resolve().parents[1]
DPI = 200  # shown at 100
SAVED = {"dpi": DPI, "bbox_inches": "tight", "pad_inches": 0.06}
LONG = 60  # letters of a changed parameter that a title shows as it is
LARGE = 5000  # rows above which a frame is compressed
MADE = ("commit", "source", "threads", "device", "seconds")  # of a run, what its metrics repeat
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "seaborn")


class Results:
    """The results of one notebook ("02_accuracy_gap") under one profile, in ``<root>/<profile>/``; notes the seed.

    `own` are parameters that are not those of the profile, {name: value} (`parameters.changed`): what comes of them is
    the reader's own.  It goes to ``<root>/mine/``, to the folder `name` or one that is named by them; figures say so,
    and have no committed reference beside unless `reference` is set to True.
    """

    def __init__(self, notebook, profile, root, seed=0, own=None, name=None):
        self.notebook, self.profile, self.seed = notebook, profile, seed
        self.folder, self.label, self.reference = Path(root) / profile, profile, not own
        if own:
            digest = hashlib.sha256(json.dumps(own, sort_keys=True, default=str).encode()).hexdigest()[:4]
            self.folder = Path(root) / "mine" / (name or f"{'-'.join([profile, *own])[:60]}-{digest}")
            self.label = f"{profile}, but {', '.join(f'{key} {in_words(value)}' for key, value in own.items())}"
            print(f"Not as in the profile {profile}: {', '.join(own)}. Results go to {self.folder}; no committed run "
                  "is drawn beside (outputs.reference = True draws it).")
        self._compared, self._written = {}, set()
        self._start = time.perf_counter()
        commit()  # asked now: one that is made while the notebook runs did not make its numbers
        self._metrics = self.folder / f"metrics/{notebook}.json"
        if self._metrics.exists():  # until `finish`, what lies there is of two runs
            earlier = {**json.loads(self._metrics.read_text()), "unfinished": True}
            write_atomic(self._metrics, json.dumps(earlier, indent=1) + "\n")

    def beside(self, frame, name, title=""):
        """Keep the numbers of a figure, and return them with those of the committed reference run below.

        Parameters
        ----------
        frame : DataFrame, written to ``figures/<name>.csv`` (``.csv.gz`` above 5,000 rows)
        title : str, what is measured here; what was, in the reference run, is read from its file

        Returns
        -------
        `frame` with a first column ``profile``, such as "quick: 5,000 digits, W-10-1"; then the same columns of the
            largest committed profile above this one, if it has this figure.  Where there is no other, and the profile
            is as it was given, its name is left out
        """
        for suffix in (".csv", ".csv.gz"):  # no stale numbers, also where a profile lacks this figure
            (self.folder / f"figures/{name}{suffix}").unlink(missing_ok=True)
        if len(frame):
            self._write(frame.assign(title=title), f"figures/{name}.csv{'.gz' if len(frame) > LARGE else ''}")
        parts = [(self.label, title, frame), *(_reference(self.profile, name, frame) if self.reference else [])]
        alone = len(parts) == 1 and self.label == self.profile
        names = [": ".join(filter(None, ["" if alone and title else profile, title])) for profile, title, _ in parts]
        return pd.concat([part.assign(profile=name)[["profile", *frame.columns]]
                          for name, (*_, part) in zip(names, parts)], ignore_index=True)

    def figure(self, fig, name, alt):
        """Save ``figures/<name>.png`` and ``.pdf``, both without dates, and `show` it; returns the figure."""
        content = io.BytesIO()
        fig.savefig(content, format="pdf", **SAVED, metadata={"CreationDate": None, "Subject": alt})
        self._put(f"figures/{name}.pdf", content.getvalue())
        self._put(f"figures/{name}.png", self.show(fig, alt))
        return fig

    @staticmethod
    def show(fig, alt):
        """Show a figure in a notebook, with the text `alt` for those who do not see it, and close it; returns its PNG.

        256 colours are a third of the bytes, in a notebook and on disk, and look the same.
        """
        import matplotlib.pyplot as plt
        from IPython import display, get_ipython
        drawn, content, about = io.BytesIO(), io.BytesIO(), PngImagePlugin.PngInfo()
        fig.savefig(drawn, format="png", **SAVED)
        plt.close(fig)
        about.add_itxt("Description", alt)
        picture = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        picture.save(content, "PNG", optimize=True, pnginfo=about)
        if get_ipython() is not None:
            display.display(display.Image(content.getvalue(), width=round(picture.width * 100 / DPI), alt=alt))
        return content.getvalue()

    def table(self, frame, name):
        """Save a DataFrame as ``tables/<name>.csv``, a 0..n-1 index left out; returns it."""
        self._write(frame, f"tables/{name}.csv")
        return frame

    def compare(self, rows):
        """Note printed numbers beside ours for paper_vs_ours.csv; returns these rows.

        `rows` is a DataFrame or a list of dicts: ``quantity`` (unique in a notebook; the same one replaces), ``paper``
        and ``ours`` (number, str or None), ``unit``, ``note``; another key, or no quantity, is a ValueError.
        """
        frame = pd.DataFrame(rows)
        unknown = set(frame) - set(COMPARED)
        if unknown or "quantity" not in frame or frame.quantity.isna().any():
            raise ValueError(f"A comparison row needs 'quantity' and may have {', '.join(COMPARED[1:])}; these have "
                             f"{', '.join(map(str, frame)) or 'nothing'}.")
        frame = frame.reindex(columns=COMPARED)
        self._compared.update({row["quantity"]: row for row in frame.to_dict("records")})
        return frame

    def finish(self, claims, runs=()):
        """Write metrics, claims.csv and paper_vs_ours.csv; returns the verdicts as a table to look at.

        The notebook's earlier rows in both CSV files are replaced, those of other notebooks stay; its earlier files
        that it did not write again are removed.  `runs` are those that the numbers are of.
        """
        claims = list({claim.id: claim for claim in claims}.values())
        installed = {found.name: found.version for found in importlib.metadata.distributions()}
        facts = {**provenance(), "source": {kind: source_digest(kind) for kind in SOURCES}, "notebook": self.notebook,
                 "profile": self.profile, "seed": self.seed, "seconds": round(time.perf_counter() - self._start, 1),
                 "versions": {package: installed[package] for package in PACKAGES if package in installed}}
        made = {run.folder.name: {name: run.made.get(name) for name in MADE} for run in runs}
        earlier = json.loads(self._metrics.read_text()).get("files", []) if self._metrics.exists() else []
        for name in set(earlier) - self._written:
            (self.folder / name).unlink(missing_ok=True)
        metrics = {"provenance": facts, "runs": dict(sorted(made.items())), "files": sorted(self._written)}
        write_atomic(self._metrics, json.dumps(metrics, indent=1) + "\n")
        place = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:12]
        with FileLock(Path(tempfile.gettempdir(), f"wpgd-{place}.lock")):  # another notebook may end now, too
            self._merge("claims.csv", [claim.as_dict() for claim in claims], verdicts.COLUMNS)
            self._merge("paper_vs_ours.csv", self._compared.values(), COMPARED)
        return verdicts.table(claims)

    def _write(self, frame, name):
        numbered = frame.index.name is None and list(frame.index) == list(range(len(frame)))
        compression = {"method": "gzip", "mtime": 0} if name.endswith(".gz") else None
        content = io.BytesIO()  # without a name, which gzip would write down
        _rounded(split(frame)).to_csv(content, index=not numbered, float_format="%.6g", lineterminator="\n",
                                      compression=compression)
        self._put(name, content.getvalue())

    def _put(self, name, content):
        write_atomic(self.folder / name, content)
        self._written.add(name)

    def _merge(self, name, rows, columns):
        """Replace the rows of this notebook in a CSV; the others stay as they are, to the letter."""
        path, columns = self.folder / name, ["notebook", *columns]
        new = pd.DataFrame([{"notebook": self.notebook, **row} for row in rows], columns=columns)
        text = _rounded(new).to_csv(index=False, float_format="%.6g", lineterminator="\n")
        frames = [pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)]
        if path.exists():
            old = pd.read_csv(path, dtype=str, keep_default_na=False)
            if list(old) != columns:
                raise ValueError(f"{path} has the columns {', '.join(old)}, expected {', '.join(columns)}: it is of "
                                 "another version; move it away and run the notebooks again.")
            frames.append(old[old.notebook != self.notebook])
        merged = pd.concat(frames).sort_values("notebook", kind="stable")
        write_atomic(path, merged.to_csv(index=False, lineterminator="\n"))


def in_words(value):
    """A changed parameter for a title: no folders, and of a long cost how many pairs are the dearest, and which."""
    with suppress(ValueError, SyntaxError):  # the settings of models are texts
        value = ast.literal_eval(value) if str(value)[:1] in ("[", "{") else value
    if isinstance(value, dict) and "values" in value:
        return in_words(value["values"]) + ("" if value.get("symmetric", True) else ", asymmetric")
    if isinstance(value, str):
        value = ", ".join(one if one.startswith("W-") else Path(one).name for one in value.split(", "))
    if len(str(value)) <= LONG:
        return str(value)
    if isinstance(value, list) and all(isinstance(row, list) for row in value):
        value = {f"{i} -> {j}": cost for i, row in enumerate(value) for j, cost in enumerate(row)}
    if not isinstance(value, dict) or not any("->" in key for key in value):
        return f"{str(value)[:LONG]}..."
    costs = {pair: cost for pair, cost in value.items() if isinstance(cost, int | float)}
    kind, pairs = "dearest", [pair for pair in costs if costs[pair] == max(costs.values())]
    if "default" in pairs:
        kind, pairs = "cheaper", [pair for pair in costs if costs[pair] < costs["default"]]
    return f"{len(pairs)} {kind} pair{'s' * (len(pairs) != 1)} {', '.join(pairs[:3])}{', ...' * (len(pairs) > 3)}"


def _reference(profile, name, like):
    """[(profile, title, frame like `like`)] of a figure in the largest committed profile above one, or []."""
    # A user's own profile counts as smaller than all committed ones.
    above = PROFILES[PROFILES.index(profile) + 1:] if profile in PROFILES else PROFILES
    # Class names such as "4" are texts, also where a file holds nothing else.
    texts = {name: str for name, kind in split(like).dtypes.items() if not pd.api.types.is_numeric_dtype(kind)}
    for larger in reversed(above):
        for path in (REPO_ROOT / "results" / larger / "figures").glob(f"{name}.csv*"):
            try:
                found = merge(pd.read_csv(path, dtype={**texts, "title": str}, keep_default_na=False, na_values=[""]))
                title = found.title.fillna("").iloc[0]
                return [(larger, title, found[list(like)].fillna(dict.fromkeys(texts, "")))]
            except (ValueError, KeyError, OSError, IndexError) as error:
                warnings.warn(f"{path} is not drawn beside this run, it cannot be read: {error}", stacklevel=3)
    return []


def _rounded(frame):
    """The frame with the numbers among its texts written as pandas writes columns of numbers."""
    def cell(value):
        return f"{value:.6g}" if isinstance(value, float) and value == value else value

    return frame.assign(**{str(name): frame[name].map(cell) for name in frame if frame[name].dtype == object})


def split(frame):
    """A DataFrame whose columns x of Intervals became numbers: "x", "x low", "x high"."""
    columns = {}
    for name, column in frame.items():
        columns[name] = column
        if any(isinstance(cell, Interval) for cell in column):
            cells = (cell if isinstance(cell, Interval) else Interval(cell) for cell in column)
            columns |= zip((name, f"{name} low", f"{name} high"), zip(*cells))
    return pd.DataFrame(columns, index=frame.index)


def merge(frame):
    """The DataFrame that `split` was given: columns "x", "x low", "x high" become one of Intervals."""
    merged = frame.copy()
    for name in [name for name in frame if {f"{name} low", f"{name} high"} <= set(frame)]:
        merged[name] = list(map(Interval, frame[name], merged.pop(f"{name} low"), merged.pop(f"{name} high")))
    return merged
