"""What a data set is here: two pairs of tensors, the class names and the pixel statistics."""
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import yaml

from helpers.checks import as_images, as_labels

# What stood for these data when runs were named by a sample of the pixels; their runs keep those names.
KNOWN = yaml.safe_load(Path(__file__).with_name("data_sets.yaml").read_text(encoding="utf-8"))["fingerprints"]


@dataclass(repr=False)
class Dataset:
    """Images and labels of train and test, in memory.

    Attributes
    ----------
    name : str; classes : tuple of K names
    x_train, x_test : Tensor, (N, C, H, W) uint8; or (N, d) float32 in [0, 1] for points
    y_train, y_test : LongTensor, (N,), values 0..K-1
    mean, std : tuples, one value a channel (a dimension, for points), of the training inputs in [0, 1]

    Raises ValueError for fewer than two classes, labels outside 0..K-1, images of another type or outside [0, 1], and a
    class without training images.
    """

    name: str
    x_train: torch.Tensor
    y_train: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    classes: tuple
    mean: tuple = None
    std: tuple = None

    def __post_init__(self):
        self.classes, data = tuple(str(name) for name in self.classes), f"data set {self.name!r}"
        if self.num_classes < 2:
            raise ValueError(f"{data} has {self.num_classes} class: classification needs at least 2")
        for part, x, y in (("training", self.x_train, self.y_train), ("test", self.x_test, self.y_test)):
            try:
                as_images(x)
                as_labels(y, len(x), self.num_classes)
            except ValueError as error:
                raise ValueError(f"{data}, {part} part: {error}") from None
        if self.x_test.shape[1:] != self.x_train.shape[1:]:
            raise ValueError(f"{data}: test images have the shape {tuple(self.x_test.shape[1:])}, training images "
                             f"{tuple(self.x_train.shape[1:])}: bring all to one size and number of channels")
        if missing := set(range(self.num_classes)) - set(self.y_train.tolist()):
            raise ValueError(f"{data}: class {self.classes[min(missing)]!r} has no training images: add some, or "
                             "remove the class")
        if self.mean is None:
            self.mean, self.std = statistics(self.x_train)

    def __repr__(self):
        return (f"Dataset({self.name!r}, {len(self.y_train)} train and {len(self.y_test)} test inputs of shape "
                f"{tuple(self.x_train.shape[1:])}, {self.num_classes} classes)")

    @property
    def num_classes(self):
        return len(self.classes)

    @property
    def in_channels(self):
        """Channels of the images, or the dimension of points."""
        return self.x_train.shape[1]

    @cached_property
    def fingerprint(self):
        """Short hash of all inputs, labels and class names: part of the name of every run that trained on them."""
        digest = hashlib.sha256(repr((tuple(self.x_train.shape), tuple(self.x_test.shape), self.classes)).encode())
        for tensor in (self.y_train, self.y_test, self.x_train, self.x_test):
            digest.update(tensor.contiguous().numpy())
        return KNOWN.get(digest.hexdigest()[:12], digest.hexdigest()[:12])


def to_float(images):
    """Inputs as a network takes them: uint8 becomes float32 in [0, 1]; float becomes float32.

    Raises ValueError for any other type: whether 1 means white or nearly black could only be guessed.
    """
    if images.dtype == torch.uint8:
        return images.float().div_(255)
    if images.is_floating_point():
        return images.float()
    raise ValueError(f"images of type {images.dtype}: give uint8 in 0..255 or float in [0, 1]")


def statistics(images):
    """Mean and standard deviation a channel, in units of [0, 1], as two tuples; exact, in constant memory."""
    dims, count = [d for d in range(images.ndim) if d != 1], images.numel() // images.shape[1]
    total = squares = 0.0
    for chunk in images.split(4096):
        chunk = to_float(chunk).double()
        total, squares = total + chunk.sum(dim=dims), squares + chunk.square().sum(dim=dims)
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(1e-6).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())
