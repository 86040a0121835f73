"""The matrix of assets and tools: no state is taken for another, nobody sees what is not theirs, at a constant cost."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import User
from rbac.services import assign_role, create_unit, root_unit
from scanning.coverage import STATES
from scanning.models import Asset, Scan, ScanState
from scanning.retired import retire
from scanning.scanners import base
from tests.conftest import put
from tests.opssight.test_console import make_asset, make_scan, text


def states(api, **query) -> dict[str, dict[str, str]]:
    answer = api.get("/api/v1/assets/coverage", query)
    assert answer.status_code == 200, answer.content
    return {row["name"]: {cell["scanner"]: cell["state"] for cell in row["tools"]} for row in answer.json()["results"]}


@pytest.mark.parametrize(
    ("state", "more", "told"),
    [
        (ScanState.COMPLETED, {}, "clean"),
        (ScanState.COMPLETED, {"new": 3}, "findings"),
        (ScanState.COMPLETED, {"same": 3}, "findings"),
        (ScanState.COMPLETED, {"at": timezone.now() - timedelta(days=8)}, "stale"),
        (ScanState.COMPLETED_WITH_ERRORS, {}, "partly"),
        (ScanState.COMPLETED_WITH_ERRORS, {"at": timezone.now() - timedelta(days=8)}, "partly"),
        (ScanState.FAILED, {}, "failed"),
        (ScanState.TIMED_OUT, {}, "failed"),
        (ScanState.NOT_INSTALLED, {}, "not_installed"),
        (ScanState.RUNNING, {}, "running"),
        (ScanState.QUEUED, {}, "running"),
        (ScanState.DOES_NOT_FIT, {}, "does_not_fit"),
        (ScanState.COMPLETED, {"trigger": "import"}, "scope_unknown"),
        (ScanState.UNDONE, {"trigger": "import"}, "never"),
        (None, {}, "never"),
    ],
)
def test_each_state_is_told_as_what_it_is(olga, client_for, state, more, told):
    asset, client = make_asset("shop"), client_for(olga)
    if state:
        make_scan(asset, state, **more)
    found = states(client)["shop"]
    assert (found["bandit"], found["checkov"]) == (told, "never")
    shown = text(client.get("/coverage")).rpartition("Imported")[2]
    words = {
        "clean": "Clean", "partly": "With errors", "not_installed": "Not installed", "never": "Never run",
        "scope_unknown": "Scope not told",
    }  # fmt: skip
    assert words.get(told, told.replace("_", " ").capitalize()) in shown
    assert ("Clean" in shown) == (told == "clean")


def kept(client, query: str) -> set[str]:
    page = client.get(f"/coverage?{query}")
    assert page.status_code == 200
    return {asset.name for asset in Asset.objects.all() if f">{asset.name}</a>" in page.content.decode()}


def test_the_filter_by_state_says_what_the_matrix_does(olga, client_for):
    """Every asset that has a cell of a state, and no other, whichever tool it is asked of."""
    client, long_ago = client_for(olga), timezone.now() - timedelta(days=8)
    for n, (state, more) in enumerate([
        (ScanState.COMPLETED, {}), (ScanState.COMPLETED, {"reopened": 1}), (ScanState.COMPLETED, {"at": long_ago}),
        (ScanState.COMPLETED, {"trigger": "import"}), (ScanState.COMPLETED_WITH_ERRORS, {"at": long_ago}),
        (ScanState.FAILED, {}), (ScanState.TIMED_OUT, {}), (ScanState.NOT_INSTALLED, {}), (ScanState.RUNNING, {}),
        (ScanState.DOES_NOT_FIT, {}), (ScanState.UNDONE, {}),
    ]):  # fmt: skip
        make_scan(make_asset(f"one-{n}"), state, **more)
        other = make_asset(f"two-{n}")
        make_scan(other, scanner="semgrep")
        make_scan(other, state, **more)
    retire(Asset.objects.get(name="one-0"), "bandit", reason="x", by=olga)
    going = make_asset("again")
    make_scan(going, ScanState.FAILED)
    make_scan(going, ScanState.QUEUED)
    whole = make_asset("every-tool")
    for tool in base.tools_for(whole.kind):
        make_scan(whole, scanner=tool)
    Asset.objects.create(name="image", kind="image", unit=root_unit())
    told = states(client)
    for state in set(STATES) - {"does_not_fit"}:
        for tools in ([], ["bandit"], ["semgrep", "bandit"]):
            wanted = {
                name for name, cells in told.items()
                if any(found == state and (not tools or tool in tools) for tool, found in cells.items())
            }  # fmt: skip
            query = "&".join([f"state={state}", *(f"tool={tool}" for tool in tools)])
            assert kept(client, query) == wanted, query
    assert kept(client, "state=running&state=not_used") == {"again", "one-0", "one-8", "two-8"}
    only = text(client.get("/coverage?tool=bandit"))
    assert "semgrep" not in only.partition("Asset bandit")[2] and "Imported" not in only.partition("Asset bandit")[2]
    for wrong in ("state=fine", "state=does_not_fit", "tool=nonsense"):
        assert client.get(f"/coverage?{wrong}").status_code == 404


def test_the_newest_run_of_each_tool_speaks_and_imports_stand_beside(olga, client_for):
    asset, client = make_asset("shop"), client_for(olga)
    make_scan(asset, ScanState.FAILED)
    make_scan(asset)
    make_scan(asset, ScanState.FAILED, scanner="checkov")
    make_scan(asset, scanner="our-linter", trigger="import", new=2)
    found = states(client)["shop"]
    assert (found["bandit"], found["checkov"], found["our-linter"]) == ("clean", "failed", "findings")
    assert "our-linter: Findings" in text(client.get("/coverage"))


def test_only_trivy_fits_an_image(olga, client_for):
    Asset.objects.create(name="image", kind="image", unit=root_unit())
    found = states(client_for(olga))["image"]
    assert found.pop("trivy") == "never"
    assert set(found.values()) == {"does_not_fit"}


def test_what_is_not_ones_own_or_not_active_is_not_there(db, client_for):
    team = create_unit("Team", parent=root_unit())
    make_scan(make_asset("hidden"))
    make_scan(make_asset("own", team))
    put(Asset.objects.filter(pk=make_asset("retired", team).pk), is_active=False)
    person = User.objects.create(email="team@example.org")
    assign_role(person, "developer", unit=team, reason="test")
    client = client_for(person)
    assert set(states(client)) == {"own"}
    shown = text(client.get("/coverage"))
    assert "own" in shown and "hidden" not in shown and "retired" not in shown


def test_people_without_the_permission_are_refused(eve, client_for):
    client = client_for(eve)
    assert client.get("/coverage").status_code == 403
    assert client.get("/api/v1/assets/coverage").status_code == 403


def test_five_hundred_assets_are_walked_by_pages_at_a_constant_cost(olga, client_for, django_assert_max_num_queries):
    client = client_for(olga)
    make_scan(make_asset("asset 000"))
    client.get("/coverage")
    with django_assert_max_num_queries(20) as first:
        client.get("/coverage")
    for number in range(1, 120):
        asset = make_asset(f"asset {number:03}")
        make_scan(asset)
        make_scan(asset, ScanState.FAILED, scanner="checkov")
    with django_assert_max_num_queries(len(first)):
        page = client.get("/coverage")
    seen: list[str] = []
    address = "/api/v1/assets/coverage?limit=50"
    while address:
        answer = client.get(address).json()
        seen += [row["name"] for row in answer["results"]]
        address = answer["next"]
    assert len(seen) == len(set(seen)) == 120
    assert "asset 049" in text(page) and "asset 050" not in text(page)
    assert "asset 119" in text(client.get("/coverage?name=119"))
    assert client.get("/coverage?kind=nonsense").status_code == 404
    assert "No asset matches" in text(client.get("/coverage?kind=git"))
    assert Scan.objects.count() == 239
