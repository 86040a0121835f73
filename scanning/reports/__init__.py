"""Reading the reports of security tools: bytes in, findings out. One module per format; no rows, no views."""

from scanning.reports.base import RawFinding, Run, UnreadableReport
from scanning.reports.formats import FORMATS, read

__all__ = ["FORMATS", "RawFinding", "Run", "UnreadableReport", "read"]
