"""The tree as it grows under the sealer."""

from audit.sealing.models import HASH_BYTES, NODE_LEVELS
from audit.verify import Range, node_hash


class Growing(Range):
    """A range that also keeps the roots of the subtrees of NODE_LEVELS that were completed: (level, position, hash)."""

    def __init__(self, size: int = 0, peaks: bytes = b"") -> None:
        """From what a checkpoint keeps. ValueError where `peaks` are not those of a tree of `size`."""
        levels = [level for level in reversed(range(size.bit_length())) if size >> level & 1]
        if len(peaks) != HASH_BYTES * len(levels):
            raise ValueError("the number of peaks does not fit the size")
        hashes = [peaks[at : at + HASH_BYTES] for at in range(0, len(peaks), HASH_BYTES)]
        super().__init__(list(zip(levels, hashes, strict=True)), size)
        self.completed: list[tuple[int, int, bytes]] = []

    def push(self, digest: bytes, level: int = 0) -> None:
        self.size += 1 << level
        while self.peaks and self.peaks[-1][0] == level:
            digest = node_hash(self.peaks.pop()[1], digest)
            level += 1
            if level in NODE_LEVELS:
                self.completed.append((level, (self.size >> level) - 1, digest))
        self.peaks.append((level, digest))

    def packed(self) -> bytes:
        return b"".join(digest for _, digest in self.peaks)
