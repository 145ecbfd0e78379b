"""The one way in which a file of this study reaches the disk: whole, or not at all."""
import fcntl
import os
import uuid
from contextlib import suppress
from pathlib import Path


def write_atomic(path, content):
    """Write a file so that a reader, also one after a crash, sees the old content or the new one, never a part.

    `content` is a str (written as UTF-8), bytes, or a function that writes into the open binary file it is given.
    Missing folders are made. Returns the path; after an OSError, a sentence with the file's name, the file as it was
    stays, and nothing beside it.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex[:12]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(".*.part"):  # by writers that were killed: who still writes holds a lock
            with suppress(OSError), left.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
        with temporary.open("xb") as file:
            with suppress(OSError):  # some network file systems know no locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if not temporary.exists():  # it was taken for a leftover before it was locked
                return write_atomic(path, content)
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, f"{path} cannot be written ({error.strerror or error}): make room or give "
                                   "permission there, or name another folder") from error
    finally:
        with suppress(OSError):  # the folder may be none
            temporary.unlink(missing_ok=True)
    return path
