"""Drawing: matplotlib without its global figures, and SVG that may stand in a page with strict rules.

Colours are those of Okabe and Ito (2008), told apart by people who are colour-blind; markers, lines and
hatches say the same again for print in grey.
"""

from __future__ import annotations

import io
import itertools
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
INK, PALE = "#222222", "#d0d0d0"

_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))

_ZOOM = 1.45
"""Pixels of the page for a point of the drawing."""

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"

_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ksl-bench",
    "text.parse_math": False,  # a token may be "$"
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.6,
}


@dataclass(frozen=True, slots=True)
class Style:
    """How one thing is drawn wherever it is drawn."""

    colour: str
    marker: str
    line: Any


def styles(names: Sequence[str]) -> dict[str, Style]:
    """Return a style for each name; colour, marker and line together differ."""
    pairs = zip(
        dict.fromkeys(names),
        itertools.cycle(_COLOURS),
        itertools.cycle(_MARKERS),
        itertools.cycle(_LINES),
        strict=False,
    )
    return {name: Style(colour, marker, line) for name, colour, marker, line in pairs}


def draw(
    name: str,
    title: str,
    alternative: str,
    size: tuple[float, float],
    paint: Callable[..., None],
    *,
    panels: Sequence[float] = (1,),
) -> str:
    """Return a drawing as SVG.

    Args:
        name: Goes into every id, so that several drawings may stand in one page.
        title: Of the drawing.
        alternative: What it shows.
        size: In inches.
        paint: Called with the axes, one for each panel.
        panels: Their heights, relative to each other; they stand below each other.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    content = io.StringIO()
    with rc_context(_SETTINGS), warnings.catch_warnings():
        # Text stays text, so a letter that matplotlib's own font lacks is the browser's to find.
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing from font", category=UserWarning
        )
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=list(panels))
        paint(*axes[:, 0])
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(content, format="svg", metadata=nothing)
    return _inlined(content.getvalue(), name, title, alternative)


def bare(axes: Axes, *, grid: str = "y") -> None:
    """Leave out the frame's upper and right side, and draw a pale grid behind."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color=PALE, linewidth=0.6)  # type: ignore[arg-type]


def legend(axes: Axes, handles: Sequence[Any] | None = None) -> None:
    """Put a legend to the right of the axes, where it covers nothing."""
    options: dict[str, Any] = {} if handles is None else {"handles": handles}
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        fontsize=8,
        borderaxespad=0.0,
        handlelength=2.4,
        **options,
    )


def printable(text: str) -> str:
    """Return a text without what XML cannot hold: control characters become their pictures."""
    shown = (chr(0x2400 + ord(sign)) if ord(sign) < 0x20 else sign for sign in text)
    return re.sub(
        "[\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", "".join(shown)
    )


def _inlined(text: str, name: str, title: str, alternative: str) -> str:
    """Return SVG with ids of its own, without style sheets and styles: a strict page allows none."""
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{_SVG}style", f"{_SVG}metadata"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        attributes = dict(element.attrib)
        element.attrib.clear()
        for key, value in attributes.items():
            element.attrib.update(_attributes(key, value, name))
    box = root.attrib["viewBox"]
    width, height = (_ZOOM * float(one) for one in box.split()[2:])
    root.attrib.clear()
    root.attrib |= {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": box,
        "width": f"{width:.0f}",
        "height": f"{height:.0f}",
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-text",
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
        "font-family": "system-ui, sans-serif",
    }
    for place, (tag, said) in enumerate((("title", title), ("desc", alternative))):
        element = ElementTree.Element(tag, {"id": f"{name}-{'text' if place else tag}"})
        element.text = printable(said)
        root.insert(place, element)
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(key: str, value: str, name: str) -> dict[str, str]:
    if key == "id":
        return {"id": f"{name}-{value}"}
    if key == _LINK:
        return {"href": value.replace("#", f"#{name}-", 1)}
    if key != "style":
        return {key: value.replace("url(#", f"url(#{name}-")}
    found: dict[str, str] = {}
    for part in filter(None, map(str.strip, value.split(";"))):
        field, _, setting = part.partition(":")
        if field == "font":
            found |= _font(setting)
        else:
            found[field] = setting.strip().replace("url(#", f"url(#{name}-")
    return found


def _font(setting: str) -> dict[str, str]:
    """Return what a font's shorthand says, but for the family, which is the page's."""
    size = re.search(r"([\d.]+)px", setting)
    bold = re.search(r"\b(bold|[6-9]00)\b", setting)
    return ({"font-size": size[1]} if size else {}) | ({"font-weight": "bold"} if bold else {})
