"""Reading the files of a run, which were perhaps damaged since, and its manifest, which tells.

`manifest.json` is {"source": digest (`helpers.provenance.source_digest`), "files": {name: SHA-256}}.  Runs from before
there were manifests have none.
"""
import json
from contextlib import contextmanager
from hashlib import sha256

from helpers.files import write_atomic

NAME = "manifest.json"


@contextmanager
def reading(file):
    """For a block that reads one file of a run: whatever is wrong with it becomes one sentence with the remedy."""
    try:
        yield file
    except Exception as error:  # of json, csv, safetensors, torch: each has its own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(f"{file} is missing or damaged ({reason}): bring it back, or delete its folder, and the run "
                         "is trained again") from None


def read_json(file):
    """The dict in a JSON file of a run."""
    with reading(file):
        return dict(json.loads(file.read_text(encoding="utf-8")))


def as_text(value):
    """A JSON file of a run."""
    return json.dumps(value, indent=1) + "\n"


def seal(folder, source, pending=None):
    """Write the manifest of all files in a run's folder; `pending`: {name: bytes} that are written right after it."""
    files = {file.name: file.read_bytes() for file in folder.glob("[!.]*.*") if file.suffix != ".pt" and file.is_file()}
    files = {name: sha256(one).hexdigest() for name, one in sorted((files | (pending or {})).items()) if name != NAME}
    write_atomic(folder / NAME, as_text({"source": source, "files": files}))


def source_of(folder):
    """The digest of the source that trained the run in a folder; None without a manifest."""
    return _manifest(folder).get("source")


def verify(folder):
    """Raise a ValueError, with the remedy, if a file in a run's folder is not what the manifest says."""
    for name, digest in _manifest(folder).get("files", {}).items():
        if (folder / name).is_file() and sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise ValueError(f"{folder / name} is not what the manifest.json beside it says: it was changed or damaged "
                             "after the run was finished; bring it back, or delete its folder to train it again")


def _manifest(folder):
    return read_json(folder / NAME) if (folder / NAME).exists() else {}
