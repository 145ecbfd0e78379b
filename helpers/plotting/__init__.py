"""Figures of the study.

Each function draws rows = [(label, data dict), ...], a row of axes a profile, and returns the Figure. The
data are plain JSON-able dicts, so that committed results are drawn by the same function as a fresh run.
"""

from helpers.plotting.bars import bars
from helpers.plotting.distributions import entropy_histograms, reliability
from helpers.plotting.forest import forest
from helpers.plotting.heatmaps import matrices
from helpers.plotting.lines import curves, tradeoff
from helpers.plotting.points import correlation, scatter
from helpers.plotting.powers import against_p
from helpers.plotting.regions import decision_regions
from helpers.plotting.samples import image_rows
from helpers.plotting.style import COLORS, method_color, use_style

__all__ = ["COLORS", "against_p", "bars", "correlation", "curves", "decision_regions", "entropy_histograms", "forest",
           "image_rows", "matrices", "method_color", "reliability", "scatter", "tradeoff", "use_style"]
