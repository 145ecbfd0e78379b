"""Is PGD strong enough to judge these models?  Their errors under AutoAttack, on the same images."""

from helpers import attacks
from helpers.autoattack import AutoAttack

from .models import Models, column, difference
from .tables import _parts

COLUMNS = ("model", "images", "NE", "AE PGD", "AE AutoAttack", "missed")


def audit_table(runs, *, eps, steps=20, audit):
    """One row a run: natural error, error under PGD on the cross entropy and under AutoAttack, and their difference.

    A robust model loses a few points to AutoAttack; one that loses many hides its gradients from PGD (Croce & Hein
    2020), and the numbers of Tables 2 and 3, which are PGD's, say little about it.

    Parameters
    ----------
    runs : list of Run
    eps : float, in 1/255; steps : int, of PGD
    audit : dict with ``images``, the size of a class-stratified subset of the test images, and ``steps`` and
        ``queries``, see `AutoAttack`; with 0 images no run is audited, and the table has no row

    Returns
    -------
    DataFrame
        model, images; NE, "AE PGD", "AE AutoAttack" and "missed" by PGD in %, with 95 % bootstrap intervals, the last
        one paired.
    """
    import pandas

    rows = []
    for run in runs if audit["images"] else ():
        models, norm = Models({}, audit["images"]), run.config.norm
        strong = AutoAttack(eps / 255, norm, audit["steps"], audit["queries"])
        natural = models.evaluations([run])
        by_pgd = models.evaluations([run], attacks.PGD(eps / 255, steps=steps, norm=norm))
        by_all = models.evaluations([run], strong)
        rows.append({"model": run.config.label, "images": len(natural[0].labels), **_parts("NE", column(natural)),
                     **_parts("AE PGD", column(by_pgd)), **_parts("AE AutoAttack", column(by_all)),
                     **_parts("missed", difference(by_all, by_pgd))})
    return pandas.DataFrame(rows, columns=None if rows else COLUMNS)
