"""Keep freed memory in the process: a third of a training step on a CPU was spent on getting it back.

PyTorch frees the activations of a step and asks for the same megabytes in the next.  By default glibc returns such
pieces to the operating system, which must then clear and map every page anew.  Numbers are not touched by this.

It is one setting for the whole process, made where training, an evaluation or an attack on a CPU first runs, and leaves
the process as large as it ever was: the environment variable ``WPGD_KEEP_MEMORY=0`` leaves it out.
"""
import ctypes
import functools
import os
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt(3)


@functools.cache
def keep_freed_memory():
    """Tell glibc to keep what is freed until the process ends; macOS, Windows and musl stay as they are."""
    if os.environ.get("WPGD_KEEP_MEMORY") == "0":
        return
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, -1)  # the heap's end is never returned
        mallopt(_MMAP_THRESHOLD, 2 ** 30)
