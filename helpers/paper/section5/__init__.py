"""Sec. 5 of the paper: its models, and from them Tables 2 and 3, Figures 10 to 13 and their claims."""

from .ablation import ABLATION_ATTACKS, ablation_table, ablation_verdicts
from .attacked import Scores, score_attacks
from .audit import audit_table
from .consistency import implied, readings, summary
from .figures import confusions, reached, score_panels, tradeoff, training_curves
from .models import MAIN, NOT_HERE, Models, column
from .planned import audited, evaluate_planned, planned_attacks
from .statements import direction_claims, error_claims, same_complexity, score_claims
from .tables import attack_table, compare_table2, compare_table3, directional, formatted, table2, table3

__all__ = [
           "ABLATION_ATTACKS",
           "MAIN",
           "NOT_HERE",
           "Models",
           "Scores",
           "ablation_table",
           "ablation_verdicts",
           "attack_table",
           "audit_table",
           "audited",
           "column",
           "compare_table2",
           "compare_table3",
           "confusions",
           "direction_claims",
           "directional",
           "error_claims",
           "evaluate_planned",
           "formatted",
           "implied",
           "planned_attacks",
           "reached",
           "readings",
           "same_complexity",
           "score_attacks",
           "score_claims",
           "score_panels",
           "summary",
           "table2",
           "table3",
           "tradeoff",
           "training_curves",
]
