"""Fetch the official archives: several addresses in turn, with a bar, time-outs, resumption and a checksum."""
import contextlib
import gzip
import hashlib
import shutil
import socket
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

import yaml
from tqdm import tqdm

TIMEOUT = 20  # seconds without a byte, after which a connection is given up
TRIES = 3  # rounds over the addresses in turn that bring nothing
# For each data set its archives: file name, published MD5, addresses in the order in which they are tried.
ARCHIVES = yaml.safe_load(Path(__file__).with_name("data_sets.yaml").read_text(encoding="utf-8"))["archives"]


def reachable(name):
    """Whether a host of a data set answers within seconds; with a proxy, only the download itself can tell."""
    if urllib.request.getproxies():
        return True
    for address in ARCHIVES[name][0][2]:
        with contextlib.suppress(OSError):
            parts = urllib.parse.urlsplit(address)
            port = parts.port or {"https": 443, "http": 80}[parts.scheme]
            socket.create_connection((parts.hostname, port), timeout=3).close()
            return True
    return False


def fetch(name, root, target):
    """Download the archives of a data set and unpack them.

    A broken download stays in ``root``, the folder of the data sets, as ``<archive>.part`` and is resumed; ``target``,
    the folder that the archives hold, appears below ``root`` only when all is unpacked.
    Raises OSError with every address and what went wrong there, and how to fetch the file by hand.
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
    path, part, failures, lied, idle = root / archive, root / f"{archive}.part", {}, set(), 0
    if path.is_file() and _md5(path) == md5:
        return path
    while idle < TRIES:  # what a connection brought is kept, and another one goes on from there
        before = _size(part)
        for address in [one for one in addresses if one not in lied]:
            try:
                _receive(address + archive, part)
            except OSError as error:
                failures[address] = error
                continue
            if _md5(part) == md5:
                return part.rename(path)
            part.unlink()
            lied.add(address)
            failures[address] = "other bytes than published"
        idle = 0 if _size(part) > before else idle + 1
        time.sleep(1)
    failures = "; ".join(f"{address}: {error}" for address, error in failures.items())
    raise OSError(f"{archive} could not be downloaded ({failures}). By hand: fetch {addresses[0]}{archive} "
                  f"(MD5 {md5}) with a browser and put it into {root}")


def _receive(url, part):
    """Append what is missing of `url` to the file `part`; a server that cannot resume starts again."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is missing
            return
        raise
    have = have if answer.status == 206 else 0
    with contextlib.closing(answer), open(part, "ab" if have else "wb") as file:
        rest = int(answer.headers.get("Content-Length") or 0)
        with tqdm(total=have + rest or None, initial=have, unit="B", unit_scale=True, desc=part.stem) as bar:
            while block := answer.read(1 << 18):
                file.write(block)
                bar.update(len(block))
        if rest and bar.n < have + rest:
            raise OSError(f"the connection ended after {bar.n:,} of {have + rest:,} bytes")


def _size(path):
    return path.stat().st_size if path.is_file() else 0


def _md5(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _unpack(path, folder):
    """Unpack an archive; members that would leave the folder, links and devices are refused."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    elif ".tar" in path.suffixes:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    else:
        with gzip.open(path) as source, open(folder / path.stem, "wb") as target:
            shutil.copyfileobj(source, target)
