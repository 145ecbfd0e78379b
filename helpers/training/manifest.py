"""The manifest of a finished run: the SHA-256 of each of its files, and the source that trained it.

`manifest.json` is {"source": digest (`helpers.provenance.source_digest`), "files": {name: SHA-256}}.  Runs from before
there were manifests have none.
"""
import hashlib
import json

from helpers.files import write_atomic

NAME = "manifest.json"


def seal(folder, source, pending=None):
    """Write the manifest of all files in a run's folder; `pending`: {name: bytes} that are written right after it."""
    files = {file.name: file.read_bytes() for file in folder.glob("[!.]*.*") if file.suffix != ".pt" and file.is_file()}
    digests = {name: _digest(content) for name, content in sorted({**files, **(pending or {})}.items()) if name != NAME}
    write_atomic(folder / NAME, json.dumps({"source": source, "files": digests}, indent=1) + "\n")


def source_of(folder):
    """The digest of the source that trained the run in a folder; None without a manifest."""
    return _read(folder).get("source")


def verify(folder):
    """Raise a ValueError, with the remedy, if a file in a run's folder is not what the manifest says."""
    for name, digest in _read(folder).get("files", {}).items():
        if (folder / name).is_file() and _digest((folder / name).read_bytes()) != digest:
            raise ValueError(f"{folder / name} is not what the manifest.json beside it says: it was changed or damaged "
                             "after the run was finished; bring it back, or delete its folder to train it again")


def _digest(content):
    return hashlib.sha256(content).hexdigest()


def _read(folder):
    try:
        return json.loads((folder / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise ValueError(f"{folder / NAME} is damaged: delete it if you trust the files beside it, else delete the "
                         "folder to train the run again") from None
