"""The paper's printed numbers (`values`, `printed`, `claim`) and what a notebook writes (`Outputs`)."""

from helpers.paper.outputs import Outputs, reference
from helpers.paper.printed import (
    claim,
    dataset_title,
    inconsistencies,
    is_stand_in,
    printed,
    printed_table,
    stand_in_note,
    stand_in_title,
    values,
)
from helpers.paper.seeds import seed_table, seeds_and_images, with_intervals

__all__ = ["Outputs", "claim", "dataset_title", "inconsistencies", "is_stand_in", "printed", "printed_table",
           "reference", "seed_table", "seeds_and_images", "stand_in_note", "stand_in_title", "values", "with_intervals"]
