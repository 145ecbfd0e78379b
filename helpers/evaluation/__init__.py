"""Measure a classifier: errors and confusions, clean and attacked, and what the paper derives from them.

- predict: predictions, confusion matrices, logits and features of a model (NE and AE, Sec. 2)
- cached: the same for a trained run, kept beside its weights
- scores: accuracy gap G (Def. 1), its correlation with a cost (Table 1), weighted score S (Eq. 7)
- confidence: softmax entropy (Fig. 7), calibration
- clusters: t-SNE and cluster quality of a representation (Fig. 6)
- boundaries: decision boundaries of a 2-d classifier (Fig. 8, 9)
"""

from . import boundaries
from .cached import EVALUATION_VERSION, evaluate_run
from .clusters import cluster_quality, tsne
from .confidence import calibration_error, reliability_table, softmax_entropy
from .predict import Evaluation, confusion_matrix, evaluate, features, predict_logits
from .scores import (
    CIFAR10_GROUPS,
    accuracy_gap,
    bootstrap_correlation,
    bootstrap_error,
    bootstrap_error_difference,
    bootstrap_score,
    bootstrap_score_difference,
    correlation,
    group_confusion,
    mantel_test,
    weighted_score,
)
from .stratified import stratified_subset

__all__ = [
    "CIFAR10_GROUPS",
    "EVALUATION_VERSION",
    "Evaluation",
    "accuracy_gap",
    "bootstrap_correlation",
    "bootstrap_error",
    "bootstrap_error_difference",
    "bootstrap_score",
    "bootstrap_score_difference",
    "boundaries",
    "calibration_error",
    "cluster_quality",
    "confusion_matrix",
    "correlation",
    "evaluate",
    "evaluate_run",
    "features",
    "group_confusion",
    "mantel_test",
    "predict_logits",
    "reliability_table",
    "softmax_entropy",
    "stratified_subset",
    "tsne",
    "weighted_score",
]
