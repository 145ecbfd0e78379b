"""Data sets as uint8 tensors: loading, fixed splits, class pairs and imbalance, augmentation on the device."""
from helpers.data.augment import Augment
from helpers.data.dataset import Dataset, to_float
from helpers.data.load import NAMES, default_root, load, provide
from helpers.data.split import Split, class_index, imbalance, select_classes, split, stratified_subset

__all__ = ["NAMES", "Augment", "Dataset", "Split", "class_index", "default_root", "imbalance", "load", "provide",
           "select_classes", "split", "stratified_subset", "to_float"]
