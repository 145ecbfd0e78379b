"""Some of the kills of `tests/kill`, whose committed result has them all."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

KILL = Path(__file__).with_name("kill")
CODE = """import importlib, json, pathlib, sys
kill, root = importlib.import_module("kill.__main__"), pathlib.Path(sys.argv[1])
print(json.dumps(kill.each_call(root, 3)))"""


def assert_whole(result):
    for one in result.values():
        assert not one.get("wrong or left") and not one.get("different or left"), one
        assert one.get("kills") or one["killed before it was whole"] > 3


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not here")
def test_a_write_that_is_killed_leaves_the_old_file_or_the_new_one(tmp_path):
    places = os.pathsep.join([str(KILL.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([sys.executable, "-P", "-c", CODE, tmp_path], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": places})
    assert done.returncode == 0, done.stderr
    assert_whole(json.loads(done.stdout.splitlines()[-1]))


def test_the_committed_result_is_of_60_kills_and_each_system_call():
    result = json.loads((KILL / "result.json").read_text())
    training, writes = result.values()
    assert training["kills"] == 60 and training["runs"] >= 10
    assert all(one["system calls"] >= 20 for one in writes.values())
    assert_whole({"training": training, **writes})
