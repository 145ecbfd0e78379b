"""Fetch the official archives: several addresses in turn, with a bar, time-outs, resumption and a checksum."""
import gzip
import hashlib
import shutil
import tempfile
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import yaml
from tqdm import tqdm

TIMEOUT = 20  # seconds without a byte, after which a connection is given up
TRIES = 3  # rounds over the addresses in turn that bring nothing
OTHER_BYTES = "other bytes than published"
# For each data set its archives: file name, published MD5, addresses in the order in which they are tried.
ARCHIVES = yaml.safe_load(Path(__file__).with_name("data_sets.yaml").read_text(encoding="utf-8"))["archives"]


def fetch(name, root, target):
    """Download the archives of a data set and unpack them into `target`, below `root`, which appears when all is there.

    A broken download stays in `root` as ``<archive>.part`` and is resumed. Raises OSError with every address and what
    went wrong there, and how to fetch the file by hand.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".unpacking-") as temporary:
        (folder := Path(temporary) / "files").mkdir()
        for archive, md5, addresses in ARCHIVES[name]:
            _unpack(_download(archive, md5, addresses, root), folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        # An archive holds its own folder; MNIST's files lie open.
        (folder / target.name if (folder / target.name).is_dir() else folder).rename(target)
    for archive, _, _ in ARCHIVES[name]:
        (root / archive).unlink(missing_ok=True)


def _download(archive, md5, addresses, root):
    """The archive in `root`, from the first address that gives what the checksum says."""
    path, part, failures, idle = root / archive, root / f"{archive}.part", {}, 0
    if path.is_file() and _md5(path) == md5:
        return path
    part.touch()
    while idle < TRIES:  # what a connection brought is kept, and another one goes on from there
        before = part.stat().st_size
        for address in [one for one in addresses if failures.get(one) != OTHER_BYTES]:
            try:
                _receive(address + archive, part)
                if _md5(part) == md5:
                    return part.rename(path)
                part.write_bytes(b"")
                failures[address] = OTHER_BYTES
            except OSError as error:
                failures[address] = error
        idle = 0 if part.stat().st_size > before else idle + 1
        time.sleep(1)
    failures = "; ".join(f"{address}: {error}" for address, error in failures.items())
    raise OSError(f"{archive} could not be downloaded ({failures}). By hand: fetch {addresses[0]}{archive} "
                  f"(MD5 {md5}) with a browser and put it into {root}")


def _receive(url, part):
    """Append what is missing of `url` to the file `part`; a server that cannot resume starts again."""
    with part.open("ab") as file:
        have = file.tell()
        try:
            answer = urlopen(Request(url, headers={"Range": f"bytes={have}-"}), timeout=TIMEOUT)
        except HTTPError as error:
            if error.code == 416:  # nothing is missing
                return
            raise
        if answer.status != 206:
            have = file.truncate(0)
        total = have + answer.length if answer.length else None
        with answer, tqdm.wrapattr(answer, "read", total=total, initial=have, desc=part.stem) as stream:
            shutil.copyfileobj(stream, file, 1 << 18)
            if answer.length:
                raise OSError(f"the connection ended {answer.length:,} bytes before the end")


def _md5(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _unpack(path, folder):
    """Unpack an archive; no member leaves the folder, links that do and devices are refused."""
    if path.suffix == ".zip" or ".tar" in path.suffixes:
        shutil.unpack_archive(path, folder, filter=None if path.suffix == ".zip" else "data")
    else:
        with gzip.open(path) as source, open(folder / path.stem, "wb") as target:
            shutil.copyfileobj(source, target)
