"""Keep freed memory in the process: a third of a training step on a CPU was spent on getting it back.

PyTorch frees the activations of a step and asks for the same megabytes in the next.  By default glibc returns such
pieces to the operating system, which must then clear and map every page anew.  Numbers are not touched by this.
"""
import ctypes
import functools

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt(3)


@functools.cache
def keep_freed_memory():
    """Tell glibc to keep what is freed until the process ends; macOS, Windows and musl stay as they are."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_TRIM_THRESHOLD, -1)  # the heap's end is never returned
    mallopt(_MMAP_THRESHOLD, 2 ** 30)
