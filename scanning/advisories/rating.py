"""What the lists say of findings, by their CVEs: the highest score, and whether one is known to be exploited."""

from collections.abc import Collection

from scanning.advisories.models import EpssScore, Feed, KnownExploited
from scanning.models import Finding


def rate(found: Collection[Finding]) -> None:
    """Set the fields in `detail.RATED`, unsaved. Three queries where one of them has a CVE, none where none has.

    What no list was read for, or has no CVE, is not known: None, and never "not exploited".
    """
    named = [(finding, cves) for finding in found if (cves := finding.cves)]
    for finding in found:
        finding.epss = finding.epss_percentile = None
        finding.is_known_exploited = finding.kev_due_on = finding.kev_ransomware = None
    if not named:
        return
    known = Feed.objects.known()
    asked = {cve for _, names in named for cve in names}
    scores = EpssScore.objects.in_bulk(asked) if Feed.Kind.EPSS in known else {}
    exploited = KnownExploited.objects.in_bulk(asked) if Feed.Kind.KEV in known else {}
    for finding, names in named:
        rated = [scores[name] for name in names if name in scores]
        if rated:
            highest = max(rated, key=lambda score: score.epss)
            finding.epss, finding.epss_percentile = highest.epss, highest.percentile
        if Feed.Kind.KEV in known:
            listed = [exploited[name] for name in names if name in exploited]
            finding.is_known_exploited = bool(listed)
            finding.kev_due_on = min((one.due_on for one in listed if one.due_on), default=None)
            finding.kev_ransomware = True if any(one.ransomware for one in listed) else None
