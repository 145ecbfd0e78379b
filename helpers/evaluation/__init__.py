"""Measure a classifier: errors and confusions, clean and attacked, and what the paper derives from them.

- predict: predictions, confusion matrices, logits and features of a model (NE and AE, Sec. 2)
- cached: the same for a trained run, kept beside its weights
- scores: accuracy gap G (Def. 1), its correlation with a cost (Table 1), weighted score S (Eq. 7)
- gaps, studies: where G lies, what chance would give, a row of Table 1 (Sec. 3.1)
- direction: near and distant pairs, mean cost of an error, order over p (Sec. 5.3, 5.4)
- confidence, selective: softmax entropy (Fig. 7), calibration, thresholds on the confidence
- clusters: t-SNE and cluster quality of a representation (Fig. 6)
- pairs: curves and errors of two-class problems over seeds (Fig. 5)
- bootstrap: an interval for any number computed from images
- boundaries: decision boundaries of a 2-d classifier (Fig. 8, 9)
"""

from . import boundaries
from .bootstrap import bootstrap_statistic, paired_means
from .cached import EVALUATION_VERSION, evaluate_run
from .clusters import cluster_quality, cluster_samples, tsne
from .confidence import calibration_error, reliability_table, softmax_entropy
from .direction import (
    bootstrap_error_cost,
    bootstrap_order,
    crossing_pairs,
    mean_error_cost,
    pairs_by_cost,
    rank_order,
    worst_case,
)
from .gaps import (
    bootstrap_concentration,
    concentration,
    exchanged_gaps,
    gap_size,
    nearer_share,
    pairs_among,
)
from .pairs import pair_errors, seed_band
from .predict import Evaluation, confusion_matrix, evaluate, features, predict_logits, robust_error
from .scores import (
    CIFAR10_GROUPS,
    accuracy_gap,
    bootstrap_correlation,
    bootstrap_error,
    bootstrap_error_difference,
    bootstrap_score,
    bootstrap_score_difference,
    correlation,
    correlation_samples,
    group_confusion,
    mantel_test,
    weighted_score,
)
from .selective import error_at_coverage, risk_coverage, softmax_confidence
from .stratified import stratified_subset
from .studies import GapStudy, confused_pairs, correlation_lead, gap_panels, gap_study

__all__ = [
    "CIFAR10_GROUPS",
    "EVALUATION_VERSION",
    "Evaluation",
    "GapStudy",
    "accuracy_gap",
    "bootstrap_concentration",
    "bootstrap_correlation",
    "bootstrap_error",
    "bootstrap_error_cost",
    "bootstrap_error_difference",
    "bootstrap_order",
    "bootstrap_score",
    "bootstrap_score_difference",
    "bootstrap_statistic",
    "boundaries",
    "calibration_error",
    "cluster_quality",
    "cluster_samples",
    "concentration",
    "confused_pairs",
    "confusion_matrix",
    "correlation",
    "correlation_lead",
    "correlation_samples",
    "crossing_pairs",
    "error_at_coverage",
    "evaluate",
    "evaluate_run",
    "exchanged_gaps",
    "features",
    "gap_panels",
    "gap_size",
    "gap_study",
    "group_confusion",
    "mantel_test",
    "mean_error_cost",
    "nearer_share",
    "pair_errors",
    "paired_means",
    "pairs_among",
    "pairs_by_cost",
    "predict_logits",
    "rank_order",
    "reliability_table",
    "risk_coverage",
    "robust_error",
    "seed_band",
    "softmax_confidence",
    "softmax_entropy",
    "stratified_subset",
    "tsne",
    "weighted_score",
    "worst_case",
]
