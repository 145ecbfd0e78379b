"""Import torchvision where its compiled operators do not fit the installed torch.

Beside a CPU build of torch the library of PyPI's wheel (built for CUDA) does not load, and the import stops at
"operator torchvision::nms does not exist", although data sets need no operator: declaring two schemas is enough.
"""
import importlib
import sys

import torch

_LIBRARIES = []  # torch drops the declarations when the Library object is collected


def torchvision_datasets():
    """The module `torchvision.datasets`, with the missing schemas declared first if they are missing."""
    try:
        return importlib.import_module("torchvision.datasets")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _LIBRARIES.append(library)
    return importlib.import_module("torchvision.datasets")
