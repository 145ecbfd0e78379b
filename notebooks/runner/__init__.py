"""Runs the notebooks of the study with the parameters of a profile: ``python -m runner --help``."""
