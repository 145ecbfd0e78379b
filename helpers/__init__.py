"""Building blocks of the WPGD study: losses, attacks, cost matrices, models, data, training, evaluation.

Each module stands for one step of the path a number takes: profile -> notebook parameters ->
`training.train` (data -> model -> attack(loss(cost)) -> step) -> a run on disk -> `evaluation` ->
table, figure, `claims`.  The study reproduces Terzi, Susto and Chaudhari, "Directional adversarial
training for cost sensitive deep learning classification applications" (arXiv:1910.03468).
"""
