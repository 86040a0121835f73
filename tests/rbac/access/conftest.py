import pytest

from accounts.tokens.services import issue_token
from rbac.access.models import Policy, Zone
from rbac.access.services import save_policy, save_zone
from rbac.services import permissions_of
from tests.api.conftest import Api

OFFICE = "10.1.2.3"
AWAY = "198.51.100.7"
IN_OFFICE = {"fact": "zone", "op": "in", "value": ["office"]}
ALWAYS = {"fact": "weekday", "op": "in", "value": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}
NEVER = {"not": ALWAYS}
UNKNOWN = {"fact": "risk_score", "op": "gt", "value": 70}


def make_policy(covers: str, effect: str, condition, *, name: str | None = None, **more) -> Policy:
    """Saved outside of a request, so by nobody who could shut themselves out."""
    resource, _, action = covers.partition(":")
    values = {"name": name or f"{effect} {covers}", "reason": "Only from the office."} | more
    return save_policy(Policy(resource=resource, action=action, effect=effect, condition=condition, **values))


@pytest.fixture
def office(db) -> Zone:
    return save_zone(Zone(name="office", networks=["10.0.0.0/8", "2001:db8:1::/48"]))


@pytest.fixture
def token(db):
    def make(user, *scopes: str) -> Api:
        return Api(issue_token(user, name="test", scopes=list(scopes) or permissions_of(user))[1])

    return make
