from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = tuple[Any, str]  # a finding with the uid and name of its asset, and why it is in its state


@dataclass(frozen=True)
class Chosen:
    """What an export is about: keys of findings by scanner, and how those of one are read, a few at a time."""

    keys: Mapping[str, Sequence[int]]
    read: Callable[[str], Iterator[Row]]

    def __len__(self) -> int:
        return sum(map(len, self.keys.values()))
