"""Speed of this study's attacks, losses and training, measured beside the libraries a user would pick instead.

`python -m benchmarks` runs everything on this machine; see README.md for what is measured and how.
"""
