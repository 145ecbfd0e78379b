"""Cost matrices: what each confusion costs (Def. 3 of the paper), from WordNet, a linear classifier or by hand."""
from .matrix import CostMatrix, read_csv
from .sources import fitted, from_spec, linear_boundary_cost, pairs_by_cost, superclasses
from .wordnet import readable, wordnet_cost

__all__ = ["CostMatrix", "fitted", "from_spec", "linear_boundary_cost", "pairs_by_cost", "read_csv",
           "readable", "superclasses", "wordnet_cost"]
