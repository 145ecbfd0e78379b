"""Import torchvision where its compiled operators do not fit the installed torch.

The torchvision wheel on PyPI is compiled for CUDA.  Beside a CPU build of torch its library does not load, and the
import then stops at "operator torchvision::nms does not exist", although data sets, transforms and utilities need
none of those operators.  Declaring the two schemas that the import registers kernels for is enough; where
torchvision imports by itself, nothing is declared.
"""
import importlib
import sys

import torch

_LIBRARIES = []  # torch drops the declarations when the Library object is collected


def torchvision_datasets():
    """The module `torchvision.datasets`, with the missing schemas declared first if they are missing.

    Raises
    ------
    ImportError
        If torchvision is not installed, or fails for another reason.
    """
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
