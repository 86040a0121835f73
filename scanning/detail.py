"""What is told of a finding beside what and where it is: its package, its names, its scores."""

import re
from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

ADVISORY = re.compile(r"(?:[A-Z]{2,10}-\d{4}[-:]\d{1,12}|GHSA(?:-[0-9A-Z]{4}){3})", re.I)
CVE = re.compile(r"CVE-\d{4}-\d{4,12}")


def advisory_name(text: str) -> bool:
    """Whether this is the name of an advisory, and nothing else: CVE-2021-44228, GHSA-jfh8-c2jp-5v3q, RHSA-2024:1."""
    return ADVISORY.fullmatch(text.strip()) is not None


class Detail(models.Model):
    """What a report says anew each time, and what lists of exploited weaknesses say of its CVEs.

    Null is "not known": the report has no score, no list was read, or the list can't know it, having no CVE of it.
    """

    package = models.CharField(max_length=200, blank=True)
    package_version = models.CharField(max_length=100, blank=True)
    fix_version = models.CharField(max_length=200, blank=True, help_text="Versions without it, as the tool says.")
    aliases = models.JSONField(default=list, blank=True, help_text="CVE, GHSA, …; the primary advisory first.")
    cvss = models.DecimalField(
        "CVSS", max_digits=3, decimal_places=1, null=True, blank=True,
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal(10))],
    )  # fmt: skip
    cvss_vector = models.CharField("CVSS vector", max_length=200, blank=True)
    end_line = models.PositiveIntegerField(default=0)
    occurrences = models.PositiveIntegerField(default=1, help_text="How often the report said it of this place.")
    epss = models.FloatField("EPSS", null=True, blank=True, help_text="Chance of exploitation within 30 days, 0 to 1.")
    epss_percentile = models.FloatField("EPSS percentile", null=True, blank=True)
    is_known_exploited = models.BooleanField("known to be exploited", null=True, help_text="By CISA's list.")
    kev_due_on = models.DateField("CISA's deadline", null=True, blank=True)
    kev_ransomware = models.BooleanField("used for ransomware", null=True)

    class Meta:
        abstract = True

    @property
    def cves(self) -> list[str]:
        return [name for name in map(str.upper, self.aliases) if CVE.fullmatch(name)]


# Fields that a report fills, and those that follow from the lists.
TOLD = (
    "package", "package_version", "fix_version", "aliases", "cvss", "cvss_vector", "end_line", "occurrences",
)  # fmt: skip
RATED = ("epss", "epss_percentile", "is_known_exploited", "kev_due_on", "kev_ransomware")
