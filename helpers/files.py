"""The one way in which a file of this study reaches the disk: whole, or not at all."""
import contextlib
import os
import tempfile
from pathlib import Path


def write_atomic(path, content):
    """Write a file so that a reader, also one after a crash, sees the old content or the new one, never a part.

    Parameters
    ----------
    path : Path; missing folders are made
    content : str (written as UTF-8), bytes, or a function that writes into the open binary file it is given

    Returns
    -------
    Path

    Raises
    ------
    OSError
        The file as it was stays, and nothing is left beside it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; results are as readable as any other file of the user.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return path
