"""Cost matrices: what each confusion costs (Def. 3 of the paper), from WordNet, a linear classifier or by hand."""

from .boundary import boundary_distances, linear_boundary_cost
from .matrix import CostMatrix, from_dataframe, read_csv
from .order import ordered_groups
from .spec import FITTED_SPECS, SPECS, from_spec, is_fitted
from .superclasses import CIFAR10_SUPERCLASSES, CIFAR100_SUPERCLASSES, superclass_cost
from .wordnet import readable, shared_hypernym, wordnet_cost

__all__ = [
    "CIFAR10_SUPERCLASSES",
    "CIFAR100_SUPERCLASSES",
    "FITTED_SPECS",
    "SPECS",
    "CostMatrix",
    "boundary_distances",
    "from_dataframe",
    "from_spec",
    "is_fitted",
    "linear_boundary_cost",
    "ordered_groups",
    "read_csv",
    "readable",
    "shared_hypernym",
    "superclass_cost",
    "wordnet_cost",
]
