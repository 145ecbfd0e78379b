"""Figures of the study: seaborn draws tidy frames, this package adds the look, matrices and what seaborn lacks.

A frame has one row an observation and the columns ``profile``, the bold text above a row of panels ("quick: 5,000
digits, W-10-1"), and ``panel``, the title of one axes.
"""

from helpers.plotting.drawings import errorbars, image_rows, regions
from helpers.plotting.matrices import matrices
from helpers.plotting.style import FREE, class_palette, finish, palette, place, use_theme

__all__ = ["FREE", "class_palette", "errorbars", "finish", "image_rows", "matrices", "palette", "place", "regions",
           "use_theme"]
