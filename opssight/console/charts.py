"""Geometry of server-drawn charts; the templates hold the drawing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date


def scale(most: int) -> list[int]:
    """Ticks of a zero-based axis that reaches `most` in at most four steps of 1, 2 or 5 times a power of ten."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if factor * step * 4 >= most:
                steps = max(1, -(-most // (factor * step)))
                return [factor * step * n for n in range(steps + 1)]
        step *= 10


@dataclass(frozen=True)
class Bar:
    label: str
    key: str
    count: int
    y: int
    width: float
    beyond: float  # where the number stands: behind the bar


@dataclass(frozen=True)
class Tick:
    value: int
    at: float


@dataclass(frozen=True)
class Bars:
    """Horizontal bars in a drawing of `width` by `height`; the bars start at `left`."""

    width: int
    height: int
    left: int
    bars: list[Bar]
    ticks: list[Tick]
    foot: int


def bars(rows: Sequence[tuple[str, str, int]], *, width: int, left: int, step: int = 34) -> Bars:
    """`rows` are label, key and count. Drawn at 1:1, so that text keeps its size."""
    room = 48  # for the longest bar's number
    ticks = scale(max((count for _, _, count in rows), default=0))
    across = (width - left - room) / ticks[-1]
    foot = 6 + step * len(rows)
    drawn = [
        Bar(label, key, count, 6 + step * index, round(count * across, 1), round(left + count * across + 8, 1))
        for index, (label, key, count) in enumerate(rows)
    ]
    marks = [Tick(value, round(left + value * across, 1)) for value in ticks]
    return Bars(width, foot + 22, left, drawn, marks, foot)


@dataclass(frozen=True)
class Segment:
    key: str
    y: float
    height: float


@dataclass(frozen=True)
class Column:
    label: str
    total: int
    x: float
    middle: float
    top: float
    segments: list[Segment]


@dataclass(frozen=True)
class Columns:
    """Stacked columns on a zero-based axis at `left`; `first` is where the second column's slot begins."""

    width: int
    height: int
    left: int
    thick: float
    columns: list[Column]
    ticks: list[Tick]
    foot: int
    first: float


def columns(
    groups: Sequence[tuple[str, Sequence[tuple[str, int]]]], *, width: int, left: int, tall: int = 150
) -> Columns:
    """`groups` are a label and its parts (key and count), the top of the stack first."""
    head = 20  # for the tallest column's number
    totals = [sum(count for _, count in parts) for _, parts in groups]
    ticks = scale(max(totals, default=0))
    unit, slot = tall / ticks[-1], (width - left) / len(groups)
    thick, foot = round(slot * 0.58, 1), head + tall
    drawn = []
    for index, ((label, parts), total) in enumerate(zip(groups, totals, strict=True)):
        y, segments = foot - total * unit, []
        top = y
        for key, count in parts:
            if count:
                segments.append(Segment(key, round(y, 1), round(count * unit, 1)))
            y += count * unit
        start = left + slot * index
        drawn.append(
            Column(
                label,
                total,
                round(start + (slot - thick) / 2, 1),
                round(start + slot / 2, 1),
                round(top - 6, 1),
                segments,
            )
        )
    marks = [Tick(value, round(foot - value * unit, 1)) for value in ticks]
    return Columns(width, foot + 24, left, thick, drawn, marks, foot, round(left + slot, 1))


@dataclass(frozen=True)
class Day:
    day: date
    total: int
    failed: int
    x: float
    y: float
    height: float
    failed_height: float
    address: str
    words: str
    label: str = ""  # the number, on the highest


@dataclass(frozen=True)
class Calendar:
    """A thin column for each day; `marks` are the days named below, (x, day)."""

    width: int
    height: int
    slot: float
    thick: float
    foot: int
    days: list[Day]
    marks: list[tuple[float, date]]


def calendar(counts: Sequence[tuple[date, int, int, str]], *, width: int, tall: int = 50) -> Calendar:
    """`counts` are a day, its total, how many of those failed, and where the column leads."""
    head = 18
    slot, foot = width / len(counts), head + tall
    most = max((total for _, total, _, _ in counts), default=0)
    unit = tall / (most or 1)
    drawn, labelled = [], most == 0
    for index, (day, total, failed, address) in enumerate(counts):
        height = max(total * unit, 1.5) if total else 0
        label = f"{total:,}" if total == most and not labelled else ""
        labelled |= bool(label)
        words = f"{day.day} {day:%B}: {total:,}{f', {failed:,} refused or failed' if failed else ''}"
        x = round(slot * index + slot * 0.18, 1)
        y, high = round(foot - height, 1), round(height, 1)
        drawn.append(Day(day, total, failed, x, y, high, round(failed * unit, 1), address, words, label))
    every = max(1, round(len(counts) / max(2, width // 150)))
    marks = [(day.x, day.day) for day in drawn[::every]]
    return Calendar(width, foot + 22, round(slot, 1), round(slot * 0.64, 1), foot, drawn, marks)
