"""Keep freed memory in the process: a third of a training step on a CPU was spent on getting it back.

PyTorch frees the activations of a step and asks for the same megabytes in the next.  By default glibc returns such
pieces to the operating system, which must then clear and map every page anew.  Numbers are not touched by this.
"""
import ctypes
import functools

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 2 ** 30


@functools.cache
def keep_freed_memory():
    """Tell glibc to keep what is freed for the next step; called by `train` and by the evaluation.

    The process then stays as large as it was at its largest, until it ends.

    Returns
    -------
    bool, False where there is no glibc to tell (macOS, Windows, musl): nothing changes there
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # A threshold of -1 switches the return of the heap's end off.
    return bool(mallopt(_TRIM_THRESHOLD, -1)) and bool(mallopt(_MMAP_THRESHOLD, _LARGEST))
