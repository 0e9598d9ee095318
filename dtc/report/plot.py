"""A small plot in SVG: a frame with axes, and marks in it. Colours come from the page's style sheet, by class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dtc.report.markup import Markup, join, tag
from dtc.report.scale import Scale, labels

_TOP, _RIGHT, _BOTTOM = 18.0, 14.0, 36.0
_DIGIT = 6.3  # width of a digit of the ticks' font


@dataclass(frozen=True)
class Frame:
    """Where the marks of a plot lie, within `width` and `height`."""

    width: float
    height: float
    left: float = 52.0

    @property
    def horizontal(self) -> tuple[float, float]:
        """Start and end of a horizontal axis."""
        return self.left, self.width - _RIGHT

    @property
    def vertical(self) -> tuple[float, float]:
        """Start and end of a vertical axis, which grows upwards."""
        return self.height - _BOTTOM, _TOP


@dataclass
class Plot:
    """A plot in the making; the marks are drawn in the order in which they are added."""

    frame: Frame
    x: Scale
    y: Scale
    x_label: str
    y_label: str
    percent: bool = False
    _marks: list[Markup] = field(default_factory=list)

    def line(self, points: Iterable[tuple[float, float]], class_: str) -> None:
        """Add a line through the points."""
        places = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        self._marks.append(tag("polyline", points=places, class_=f"line {class_}"))

    def band(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], class_: str) -> None:
        """Add the area between two lines."""
        # Around the area: along the upper line to the right, back along the lower one.
        there = [(x, y) for x, y in zip(xs, high, strict=True)]
        back = [(x, y) for x, y in zip(xs, low, strict=True)][::-1]
        places = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in [*there, *back])
        self._marks.append(tag("polygon", points=places, class_=f"area {class_}"))

    def segments(self, triples: Iterable[tuple[float, float, float]], class_: str) -> None:
        """Add vertical segments `(x, from, to)`, as one path, each with a dot where it ends."""
        triples = list(triples)
        # One element for thousands of segments: a page of as many elements scrolls badly.
        path = "".join(f"M{self.x(x):.1f} {self.y(a):.1f}V{self.y(b):.1f}" for x, a, b in triples)
        self._marks.append(tag("path", d=path, class_=f"segments {class_}"))

    def dots(self, points: Iterable[tuple[float, float]], class_: str, *, radius: float = 3.0) -> None:
        """Add a dot a point."""
        self._marks += [tag("circle", cx=self.x(x), cy=self.y(y), r=radius, class_=f"dot {class_}") for x, y in points]

    def told_dot(self, point: tuple[float, float], class_: str, words: str, target: str = "") -> None:
        """Add a dot; `words` show when one points at it, and it may lead to a place of the page."""
        dot = tag(
            "circle", tag("title", words), cx=self.x(point[0]), cy=self.y(point[1]), r=4.0, class_=f"dot {class_}"
        )
        self._marks.append(tag("a", dot, href=target) if target else dot)

    def bars(self, edges: Sequence[float], heights: Sequence[float], class_: str) -> None:
        """Add bars from the axis up, as one path; one that is too high ends at the top."""
        floor = self.y(self.y.low)
        path = "".join(
            f"M{self.x(a):.1f} {floor:.1f}V{self.y(height):.1f}H{self.x(b):.1f}V{floor:.1f}Z"
            for a, b, height in zip(edges, edges[1:], heights, strict=False)
            if height > 0
        )
        self._marks.append(tag("path", d=path, class_=f"bars {class_}"))

    def upright(self, x: float, class_: str) -> None:
        """Add a line over the whole height."""
        start, end = self.frame.vertical
        self._marks.append(tag("line", x1=self.x(x), x2=self.x(x), y1=start, y2=end, class_=f"rule {class_}"))

    def note(self, x: float, text: str) -> None:
        """Add text above the frame, over `x`."""
        start, end = self.frame.horizontal
        # Centred over `x`, but moved inwards where the text would leave the frame.
        half = len(text) * _DIGIT / 2
        place = min(max(self.x(x), start + half), end - half)
        self._marks.append(tag("text", text, x=place, y=_TOP - 5, text_anchor="middle", class_="note"))

    def legend(self, names: Iterable[tuple[str, str]]) -> None:
        """Add the names of lines above the frame, `(text, class)`, each in the colour of its line."""
        x = self.frame.horizontal[0]
        for text, class_ in names:
            self._marks.append(tag("text", text, x=x, y=_TOP - 5, class_=f"named {class_}"))
            x += (len(text) + 2) * _DIGIT

    def svg(self, title: str, class_: str = "") -> Markup:
        """Return the picture as an SVG element; a screen reader reads `title`."""
        frame = self.frame
        return tag(
            "svg",
            tag("title", title),
            self._grid(),
            self._marks,
            tag("text", self.x_label, x=sum(frame.horizontal) / 2, y=frame.height - 3, text_anchor="middle"),
            self._upright_label(),
            viewBox=f"0 0 {frame.width:g} {frame.height:g}",
            role="img",
            class_=class_ or None,
        )

    def _upright_label(self) -> Markup:
        middle = sum(self.frame.vertical) / 2
        turned = f"rotate(-90 11 {middle:.1f})"
        return tag("text", self.y_label, x=11, y=middle, text_anchor="middle", transform=turned)

    def _grid(self) -> Markup:
        (left, right), (bottom, _) = self.frame.horizontal, self.frame.vertical
        parts = []
        ticks = self.y.ticks()
        words = [f"{100 * value:.3g}%" for value in ticks] if self.percent else labels(ticks)
        for value, text in zip(ticks, words, strict=True):
            place = self.y(value)
            parts.append(tag("line", x1=left, x2=right, y1=place, y2=place, class_="grid"))
            parts.append(tag("text", text, x=left - 6, y=place + 3.5, text_anchor="end", class_="tick"))
        parts.append(tag("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis"))
        for value, text in self._horizontal_ticks():
            place = self.x(value)
            parts.append(tag("line", x1=place, x2=place, y1=bottom, y2=bottom + 4, class_="axis"))
            parts.append(tag("text", text, x=place, y=bottom + 15, text_anchor="middle", class_="tick"))
        return join(parts)

    def _horizontal_ticks(self) -> list[tuple[float, str]]:
        """Return the ticks, value and label, or every n-th of them where labels would overlap."""
        values = self.x.ticks()
        ticks = list(zip(values, labels(values), strict=True))
        left, right = self.frame.horizontal
        # Every label has `room` pixels. If the widest needs 2.4 times as much, every third is kept.
        room = (right - left) / max(len(ticks), 1)
        widest = max((len(text) for _, text in ticks), default=0) * _DIGIT + 8
        return ticks if widest <= room else ticks[:: max(2, int(widest / room) + 1)]
