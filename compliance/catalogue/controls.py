"""The controls: what must hold, how long a result counts, and which requirements it is evidence for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One control. `params` go to its test; `serves` is framework key to requirement ids; weight is 1 to 5."""

    key: str
    title: str
    description: str
    kind: str
    weight: int
    max_age_hours: int
    serves: Mapping[str, Sequence[str]]
    params: Mapping[str, Any] = field(default_factory=dict)


CONTROLS = [
    Entry(
        key="iam.mfa.privileged",
        title="Privileged accounts use a second factor",
        description=(
            "Every active person who holds a privileged role, directly or through a group, has a confirmed second "
            "factor. A role is privileged if it opens the admin or gives rights away."
        ),
        kind="population",
        weight=5,
        max_age_hours=24,
        serves={"soc2_tsc_2017": ["CC6.1"], "iso_27001_2022": ["A.8.2", "A.8.5"], "gdpr": ["32(1)(b)"]},
    ),
    Entry(
        key="vuln.cadence",
        title="Every asset was scanned in time",
        description=(
            "Every asset has a scan that completed within the allowed hours. A scan that failed or completed with "
            "errors does not count, and an asset that was never scanned fails."
        ),
        kind="operating",
        weight=4,
        max_age_hours=26,
        serves={"soc2_tsc_2017": ["CC7.1"], "iso_27001_2022": ["A.8.8"], "gdpr": ["32(1)(d)"]},
        params={"within_hours": 168},
    ),
    Entry(
        key="vuln.sla.critical",
        title="Critical findings are fixed in time",
        description=(
            "No asset has an unresolved critical finding past its deadline. Only assets whose latest scan is completed "
            "and fresh are counted, since nothing is known of the others; the result names them."
        ),
        kind="operating",
        weight=5,
        max_age_hours=24,
        serves={"soc2_tsc_2017": ["CC7.1", "CC7.4"], "iso_27001_2022": ["A.8.8"], "gdpr": ["32(1)(b)"]},
        params={"fresh_hours": 168},
    ),
]
