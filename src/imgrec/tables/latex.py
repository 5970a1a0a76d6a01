"""Write a table as LaTeX (booktabs, threeparttable), with escaped texts and with its notes below. Imports no torch."""

import re
from collections.abc import Sequence

from imgrec.tables.grid import Field, Grid
from imgrec.tables.layout import Layout

_SIGNS = {
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "|": r"\textbar{}",
    "<": "$<$",
    ">": "$>$",
    "–": r"\textendash{}",
    "≤": r"$\le$",
    "≥": r"$\ge$",
}


_MINUS = re.compile(r"(?<![\w.-])-(?=\d)")  # the hyphen before a negative number, not one inside a name


def _escaped(text: str) -> str:
    """Return the text with LaTeX's special characters escaped. Signs become mathematical signs."""
    plain = "".join(_SIGNS.get(mark, mark) for mark in text)
    return _MINUS.sub("$-$", plain).replace("--", "-{}-")  # LaTeX would print two hyphens as a dash


def render(texts: Grid, layout: Layout) -> str:
    """Return the table with its caption above and its notes below.

    What the runs were made with, and warnings, are written as comments.
    """
    by_siunitx = [layout.siunitx and _is_of_numbers(texts, place) for place in range(len(texts.header))]
    rows = [
        [_number(field) if by_siunitx[place] else _text(field) for place, field in enumerate(row)] for row in texts.rows
    ]
    kinds = [_kind(texts, place, by_siunitx[place]) for place in range(len(texts.header))]
    header = [
        f"{{{_escaped(name)}}}" if by_siunitx[place] else _escaped(name) for place, name in enumerate(texts.header)
    ]
    caption = layout.caption if layout.caption is not None else texts.verdict
    below = [
        _protect_bracket(_escaped(_with_period(_without_options(note))))
        for note in texts.notes
        if note not in texts.asides
    ]
    packages = "booktabs,threeparttable" + (",siunitx" if layout.siunitx else "")
    return "\n".join(
        [
            f"% needs \\usepackage{{{packages}}}",
            *([r"% and \sisetup{separate-uncertainty, detect-weight}"] if layout.siunitx else []),
            r"\begin{table}",
            r"  \centering",
            r"  \begin{threeparttable}",
            rf"    \caption{{{_escaped(_with_period(caption))}}}",
            *([rf"    \label{{{layout.label}}}"] if layout.label else []),
            rf"    \begin{{tabular}}{{{''.join(kinds)}}}",
            r"      \toprule",
            f"      {_line(header)}",
            r"      \midrule",
            *(f"      {_line(row)}" for row in rows),
            r"      \bottomrule",
            r"    \end{tabular}",
            r"    \begin{tablenotes}[flushleft]\footnotesize",
            *(rf"      \item {note}" for note in below),
            r"    \end{tablenotes}",
            r"  \end{threeparttable}",
            r"\end{table}",
            *(f"% {note}" for note in texts.asides),
            "",
        ]
    )


def _line(cells: Sequence[str]) -> str:
    # LaTeX would read a [ or * at the start of a row as an argument of the line break above it
    return re.sub(r"^([\[*])", r"{\1}", " & ".join(cells)) + r" \\"


def _protect_bracket(text: str) -> str:
    return re.sub(r"^\[", "{[}", text)  # LaTeX would read a leading [ as an argument of \item


def _text(field: Field) -> str:
    return rf"\textbf{{{_escaped(field.text)}}}" if field.strong else _escaped(field.text)


def _without_options(note: str) -> str:
    """Return the note without its advice on options of the command, which a printed table cannot follow."""
    return re.sub(r"; --[a-z][^;.]*", "", note)


def _with_period(note: str) -> str:
    return note if note.endswith(".") else f"{note}."


_NUMBER = re.compile(r"([+-]?)(\d+)(?:\.(\d+))?(?: ± (\d+)(?:\.(\d+))?)?")


def _is_of_numbers(texts: Grid, place: int) -> bool:
    """Return True if siunitx can align the column: some of its cells are numbers, with or without a deviation."""
    return texts.numeric[place] and any(_NUMBER.fullmatch(row[place].text) for row in texts.rows)


def _number(field: Field) -> str:
    """Return a cell for siunitx, which takes what is inside braces as text."""
    if not _NUMBER.fullmatch(field.text):
        return f"{{{_text(field)}}}"
    return (r"\bfseries " if field.strong else "") + field.text.replace("±", r"\pm")


def _kind(texts: Grid, place: int, by_siunitx: bool) -> str:
    """Return the column's letter, for siunitx with the number of digits that the column needs."""
    if not by_siunitx:
        return "r" if texts.numeric[place] else "l"
    found = [match for row in texts.rows if (match := _NUMBER.fullmatch(row[place].text))]
    sign = "+" if any(match[1] for match in found) else ""
    before, behind = (max((len(match[k] or "") for match in found), default=1) for k in (2, 3))
    deviation = max((len(f"{int(match[4] or 0)}{match[5] or ''}") for match in found if match[4]), default=0)
    uncertain = f"({deviation})" if deviation else ""
    plus = ", retain-explicit-plus" if any(match[1] == "+" for match in found) else ""
    return f"S[table-format={sign}{before}.{behind}{uncertain}{plus}]"
