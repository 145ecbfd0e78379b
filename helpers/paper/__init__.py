"""The paper's printed numbers (`values`, `printed`, `claim`) and what a notebook writes (`Outputs`)."""

from helpers.paper.outputs import Outputs, reference
from helpers.paper.printed import (
    claim,
    dataset_title,
    inconsistencies,
    printed,
    printed_table,
    stand_in_title,
    values,
)

__all__ = ["Outputs", "claim", "dataset_title", "inconsistencies", "printed", "printed_table", "reference",
           "stand_in_title", "values"]
