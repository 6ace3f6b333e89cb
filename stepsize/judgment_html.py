"""What a notebook shows of judgments of sweeps: the tables and sentences of a terminal as HTML."""

from html import escape

from rich.table import Table
from rich.text import Text

from stepsize.judgment_report import (
    Parts,
    importance_parts,
    marginal_parts,
    pair_parts,
    pick_parts,
    ranking_parts,
)
from stepsize.judgments import Importances, Judgment, Marginals, Pair, Pick, Ranking


def judgment_html(found: Judgment) -> str:
    """Its tables, and below them what there is to say."""
    return "".join(_part(part) for part in _parts(found) if part)


def _parts(found: Judgment) -> Parts:
    match found:
        case Ranking():
            yield from ranking_parts(found)
        case Importances():
            yield from importance_parts(found)
        case Marginals():
            yield from marginal_parts(found)
        case Pair():
            yield from pair_parts(found)
        case Pick():
            yield from pick_parts(found)


def _part(part: Table | str) -> str:
    if isinstance(part, str):
        return f"<p>{_plain(part)}</p>"
    head = "".join(f"<th>{_plain(str(column.header))}</th>" for column in part.columns)
    rows = zip(*(column.cells for column in part.columns), strict=True)
    body = "".join(
        "<tr>" + "".join(f"<td>{_plain(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _plain(markup: str) -> str:
    return escape(Text.from_markup(markup).plain)
