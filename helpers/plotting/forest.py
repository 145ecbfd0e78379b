"""All claims at a glance: how far each statistic lies from its threshold."""

from helpers.claims import Claim, format_interval
from helpers.plotting.style import GREY, SMALL, check_rows, row_figures, styled, wrap

_COLORS = {"holds": "#009E73", "fails": "#D55E00", "inconclusive": "#B8860B", "not measurable": GREY}
_MARKERS = {"holds": "o", "fails": "X", "inconclusive": "D"}
_TEXT = 3.6  # inches for the statements


@styled
def forest(rows):
    """Claims below each other, their margins to the threshold to the right (holds) or left (fails) of a line.

    Parameters
    ----------
    rows : list of (label, data)
        ``data = {"claims": [claim, ...]}`` with the columns of claims.csv (`claims.Claim.as_dict`). Each
        claim has its own unit, so each is scaled by its farthest end; its value and interval stand beside it.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If a row has no claim.
    """
    rows = check_rows(rows)
    claims = []
    for label, data in rows:
        if not data.get("claims"):
            raise ValueError(f"Row {label!r} has no 'claims' to draw.")
        claims.append([_claim(entry) for entry in data["claims"]])
    texts = [[wrap(claim.statement, _TEXT, SMALL) for claim in row] for row in claims]
    sizes = [[0.12 + 0.14 * max(text.count("\n") + 1, 2) for text in row] for row in texts]
    fig, parts = row_figures(rows, [sum(row) + 0.45 for row in sizes])
    for part, row, text, size in zip(parts, claims, texts, sizes, strict=True):
        _draw_forest(part.subplots(), row, text, size)
    return fig


def _claim(entry: dict) -> Claim:
    return Claim(**{key: entry[key] for key in Claim.__dataclass_fields__ if key in entry})


def _draw_forest(ax, claims: list[Claim], texts: list[str], sizes: list[float]) -> None:
    places, height = [], 0.0
    for size in sizes:
        places.append(height + size / 2)
        height += size
    ax.axvline(0, color="#333333", linewidth=0.8)
    for place, claim in zip(places, claims, strict=True):
        margins = claim.margins()
        if margins is not None:
            scale = max(abs(number) for number in margins if number is not None) or 1.0
            color = _COLORS[claim.verdict]
            if margins.low is not None:
                ax.plot([margins.low / scale, margins.high / scale], [place, place], color=color, linewidth=2)
            ax.plot(margins.value / scale, place, _MARKERS[claim.verdict], color=color, markersize=6)
        ax.text(1.12, place, f"{claim.verdict}: {format_interval(claim.value, claim.low, claim.high)}\n"
                f"holds if {claim.holds_if}", va="center", fontsize=SMALL, transform=ax.get_yaxis_transform(),
                color=_COLORS[claim.verdict] if claim.verdict != "not measurable" else "#555555")
    ax.set_yticks(places, texts)
    ax.tick_params(axis="y", length=0)
    ax.set(xlim=(-1.15, 1.15), ylim=(height, 0), xticks=[-0.6, 0.6])
    ax.set_xticklabels(["against", "for the claim"])
    ax.tick_params(axis="x", length=0)
    ax.spines[["left", "bottom"]].set_visible(False)
