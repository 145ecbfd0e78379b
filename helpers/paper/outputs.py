"""What a notebook leaves behind: figures, tables, metrics, verdicts and the comparison with the paper.

    <results>/<profile>/figures/fig01.png .pdf   tables/table1.csv   metrics/<notebook>.json
                        claims.csv               paper_vs_ours.csv
"""

import importlib.metadata
import io
import json
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from helpers.claims import Claim, Ledger
from helpers.paper.files import dumps, merge_rows, plain, write_atomic

PROFILES = ("smoke", "quick", "reduced-cifar10", "reduced-8-steps", "reduced", "paper", "long")  # from small to large
COMPARED = ("notebook", "quantity", "paper", "ours", "unit", "note")
REPO_ROOT = Path(__file__).resolve().parents[2]
DPI = 150

_PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib")


def reference(profile: str, notebook: str) -> tuple[str, dict] | None:
    """The committed metrics of the largest profile above ``profile``, for drawing beside a smaller run.

    Parameters
    ----------
    profile : str
        The running profile. A user's own profile counts as smaller than all committed ones.
    notebook : str
        E.g. "02_accuracy_gap".

    Returns
    -------
    (str, dict) or None
        Profile and content of ``results/<profile>/metrics/<notebook>.json`` in this repository; None if no
        larger profile is there. An unreadable file is warned about and skipped.
    """
    above = PROFILES[PROFILES.index(profile) + 1:] if profile in PROFILES else PROFILES
    for name in reversed(above):
        path = REPO_ROOT / "results" / name / "metrics" / f"{notebook}.json"
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            warnings.warn(f"{path} is not drawn beside this run, it cannot be read: {error}", stacklevel=2)
            continue
        if isinstance(content, dict) and isinstance(content.get("data"), dict):
            return name, content
        warnings.warn(f"{path} is not drawn beside this run, it has no 'data'.", stacklevel=2)
    return None


class Outputs:
    """The results of one notebook under one profile.

    Parameters
    ----------
    notebook : str
        Name without suffix, e.g. "02_accuracy_gap".
    profile : str
        Profile name, or the path of a profile's YAML (its stem counts).
    results : str or Path
        Root of the results; files go to ``<results>/<profile>/``.
    seed : int
        Noted in the provenance.

    Attributes
    ----------
    folder : Path
        ``<results>/<profile>``.
    data : dict
        What goes under "data" in metrics/<notebook>.json.
    claims : Ledger

    Raises
    ------
    ValueError
        If notebook or profile is empty or the notebook's name holds a path separator.
    """

    def __init__(self, notebook: str, profile: str, results: str | Path, seed: int = 0):
        self.notebook = _file_name(notebook, "notebook")
        self.profile = Path(_nonempty(profile, "profile")).stem
        self.folder = Path(results) / self.profile
        self.seed = seed
        self.data: dict = {}
        self.claims = Ledger(self)
        self._compared: dict[str, dict] = {}
        self._start = time.perf_counter()

    def record(self, name: str, data: Mapping) -> dict:
        """Keep data for metrics/<notebook>.json; returns it as plain JSON data. The same name replaces."""
        self.data[name] = plain(data, name)
        return self.data[name]

    def rows(self, name: str, data: Mapping) -> list[tuple[str, dict]]:
        """Record a figure's data; return its rows for `helpers.plotting`, the reference's included.

        A row is (label, data); the second row is there where a larger profile's results are committed. A
        label is ``"<profile>: <data['title']>"``, so that a title says what stands in for what.  Panels that a
        profile lacks are left out; if it lacks all, its own stay, and say so.
        """
        recorded = self.record(name, data)
        rows = [(_label(self.profile, data), _with_panels(recorded) or recorded)]
        larger = reference(self.profile, self.notebook)
        drawn = larger and larger[1]["data"].get(name)
        if isinstance(drawn, dict) and (drawn := _with_panels(drawn)):
            rows.append((_label(larger[0], drawn), drawn))
        return rows

    def figure(self, fig, name: str):
        """Save ``figures/<name>.png`` (150 dpi) and ``.pdf`` without dates; return the figure, still open."""
        import matplotlib

        name = _file_name(name, "figure")
        with matplotlib.rc_context({"pdf.fonttype": 42}):  # text in the PDF stays text
            for kind, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None})):
                content = io.BytesIO()
                fig.savefig(content, format=kind, dpi=DPI, bbox_inches="tight", pad_inches=0.06,
                            metadata=metadata)
                write_atomic(self.folder / "figures" / f"{name}.{kind}", content.getvalue())
        return fig

    def table(self, frame, name: str):
        """Save a DataFrame as ``tables/<name>.csv`` (six significant digits), a 0..n-1 index left out."""
        name = _file_name(name, "table")
        numbered = frame.index.name is None and list(frame.index) == list(range(len(frame)))
        text = frame.to_csv(index=not numbered, float_format="%.6g", lineterminator="\n")
        write_atomic(self.folder / "tables" / f"{name}.csv", text)
        return frame

    def compare(self, rows: Iterable[Mapping]):
        """Note printed numbers beside ours for paper_vs_ours.csv; returns these rows as a DataFrame.

        Parameters
        ----------
        rows : iterable of dict
            ``quantity`` (unique in a notebook; the same one replaces), ``paper`` and ``ours`` (number, str or
            None), ``unit``, ``note``.

        Raises
        ------
        ValueError
            If a row has no quantity or an unknown key.
        """
        import pandas as pd

        noted = []
        for row in rows:
            unknown = set(row) - set(COMPARED[1:])
            if unknown or not row.get("quantity"):
                raise ValueError(f"A comparison row needs 'quantity' and may have {', '.join(COMPARED[2:])}; "
                                 f"this one has {', '.join(map(str, row)) or 'nothing'}.")
            noted.append({key: plain(row.get(key, ""), key) for key in COMPARED[1:]})
            self._compared[row["quantity"]] = noted[-1]
        return pd.DataFrame(noted, columns=list(COMPARED[1:]))

    def finish(self, claims: Iterable[Claim] | Ledger = ()):
        """Write metrics, claims.csv and paper_vs_ours.csv; return the verdict table (a DataFrame).

        The notebook's earlier rows in both CSV files are replaced, those of other notebooks stay.
        """
        for claim in getattr(claims, "claims", claims):
            self.claims.add(claim)
        metrics = {"provenance": self._provenance(), "data": self.data}
        write_atomic(self.folder / "metrics" / f"{self.notebook}.json", dumps(metrics))
        self.claims.write()
        merge_rows(self.folder / "paper_vs_ours.csv", self.notebook,
                   [{"notebook": self.notebook, **row} for row in self._compared.values()], COMPARED)
        return self.claims.frame()

    def _provenance(self) -> dict:
        from helpers.training import provenance

        own = {"notebook": self.notebook, "profile": self.profile, "seed": self.seed,
               "seconds": round(time.perf_counter() - self._start, 1), "versions": _versions()}
        return plain({**provenance(), **own}, "provenance")


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _with_panels(drawn: dict) -> dict | None:
    """A figure's data without the panels that are missing; None if no panel is left."""
    if "panels" not in drawn:
        return drawn
    there = [panel for panel in drawn["panels"] if not panel.get("missing")]
    return {**drawn, "panels": there} if there else None


def _label(profile: str, data: Mapping) -> str:
    return f"{profile}: {data['title']}" if data.get("title") else profile


def _nonempty(name: str, what: str) -> str:
    if not isinstance(name, (str, Path)) or not str(name).strip():
        raise ValueError(f"Outputs needs a {what} name, got {name!r}.")
    return str(name)


def _file_name(name: str, what: str) -> str:
    name = _nonempty(name, what)
    if "/" in name or "\\" in name:
        raise ValueError(f"The {what} name {name!r} holds a path separator; give a bare name like 'fig01'.")
    return name
