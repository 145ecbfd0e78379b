"""Figures of the study: seaborn draws tidy frames, this package adds the look, matrices and what seaborn lacks.

A frame has one row an observation and the columns ``profile``, the bold text above a part of the figure ("quick: 5,000
digits, W-10-1"), and ``panel``, the title of one axes.
"""
from helpers.plotting.drawings import errorbars, image_rows
from helpers.plotting.matrices import matrices
from helpers.plotting.panels import panels
from helpers.plotting.style import class_palette, palette, use_theme

__all__ = ["class_palette", "errorbars", "image_rows", "matrices", "palette", "panels", "use_theme"]
