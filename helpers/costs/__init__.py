"""Cost matrices: what each confusion costs (Def. 3 of the paper), from WordNet, a linear classifier or by hand."""
from .matrix import CostMatrix, from_dataframe, read_csv
from .order import ordered_groups, pairs_by_cost
from .sources import (
    FITTED_SPECS,
    SPECS,
    boundary_distances,
    from_spec,
    is_fitted,
    linear_boundary_cost,
    superclass_cost,
    superclasses,
)
from .wordnet import readable, wordnet_cost

__all__ = ["FITTED_SPECS", "SPECS", "CostMatrix", "boundary_distances", "from_dataframe", "from_spec", "is_fitted",
           "linear_boundary_cost", "ordered_groups", "pairs_by_cost", "read_csv", "readable", "superclass_cost",
           "superclasses", "wordnet_cost"]
