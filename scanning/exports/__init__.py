"""Findings as a file: SARIF 2.1.0, which other tools and OpsSight itself read, and CSV."""

from scanning.exports.services import FORMATS, LIMIT, export

__all__ = ["FORMATS", "LIMIT", "export"]
