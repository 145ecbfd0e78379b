"""The one way in which a file of this study reaches the disk: whole, or not at all."""
import os
import uuid
from pathlib import Path


def write_atomic(path, content):
    """Write a file so that a reader, also one after a crash, sees the old content or the new one, never a part.

    Parameters
    ----------
    path : Path; missing folders are made
    content : str (written as UTF-8), bytes, or a function that writes into the open binary file it is given

    Returns
    -------
    Path; after an error the file as it was stays, and nothing is left beside it
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex[:12]}.part")
    try:
        with temporary.open("xb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
