"""New pictures with their answers and maps of where these come from -> one self-contained HTML page.

The pictures and the order come from the caller, who ran the model. Names of files are hostile input, see `templating`.
"""

from __future__ import annotations

from collections.abc import Sequence

from budwood.report.templating import environment, printable, stylesheet
from budwood.report.why_view import MappedPicture


def render_why(
    shown: Sequence[MappedPicture],
    *,
    total: int,
    num_doubted: int,
    title: str,
    model: str,
    places: int,
    command: str = "",
    when: str = "",
    version: str = "",
) -> str:
    """The whole page as text, to be written as UTF-8.

    Args:
        shown: the pictures on the page, the most doubtful first. total, num_doubted: of all that were asked about.
        title: names the pictures. model: names what answered. places: along a side of the maps; 0: there are none.
        command, when, version: how, when and with what the page was made.
    """
    page = (
        environment()
        .get_template("why_page.html.j2")
        .render(
            shown=shown,
            total=total,
            num_doubted=num_doubted,
            title=title,
            model=model,
            places=places,
            command=command,
            when=when,
            version=version,
            css=stylesheet("look.css", "report.css", "why.css"),
        )
    )
    return printable(page)
