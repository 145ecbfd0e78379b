"""Runs the notebooks of the study with the parameters of a profile: ``./run_all.sh --help``."""
