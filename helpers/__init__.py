"""Building blocks of the WPGD study (Terzi, Susto and Chaudhari, arXiv:1910.03468).

A number goes: profile -> notebook parameters -> `training.train` (data -> model -> attack(loss(cost)) -> step)
-> a run on disk -> `evaluation.evaluate_run` -> a statistic in the notebook -> `intervals` -> table, figure, verdict.
"""
