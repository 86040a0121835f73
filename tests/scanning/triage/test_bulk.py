"""One thing for many findings, and the way back."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit.models import AuditEntry
from rbac.services import assign_role, create_unit, root_unit
from scanning.inventory import asset_at
from scanning.models import Finding
from scanning.triage import bulk, undo
from scanning.triage.models import BulkAction, BulkChange, Decision
from tests.conftest import make_person, put
from tests.scanning.triage.conftest import WHY, scanned, status_of

pytestmark = pytest.mark.django_db
NOWHERE = "01a20bd9-1d59-7949-b8ec-209801f0f979"


@pytest.fixture
def ana(db: None):
    return make_person("Ana", "officer")


@pytest.fixture
def three(asset) -> list[Finding]:
    scanned(asset, 1, 2, 3)
    return list(Finding.objects.order_by("line"))


@pytest.fixture
def post(ana, client_for) -> Callable[..., Any]:
    client = client_for(ana)

    def ask(path: str = "/bulk-actions", **data: Any) -> Any:
        return client.post(f"/api/v1{path}", data, content_type="application/json")

    return ask


def named(findings: list[Finding]) -> list[str]:
    return [str(finding.uid) for finding in findings]


def decide(post: Any, findings: list[Finding], status: str = "false_positive", **more: Any) -> Any:
    return post(findings=named(findings), kind="decide", status=status, reason=WHY, **more)


def undone(post: Any, done: Any) -> Any:
    return post(f"/bulk-actions/{done.json()['uid']}/undo")


def states() -> list[str]:
    return list(Finding.objects.order_by("line").values_list("status", flat=True))


def in_days(days: float) -> str:
    return (timezone.now() + timedelta(days=days)).isoformat()


def test_a_decision_about_many_changes_what_it_may_and_says_what_it_left(post, three, ana):
    put(Finding.objects.filter(pk=three[2].pk), status="fixed")
    done = decide(post, three, "in_progress")
    assert done.status_code == 201, done.content
    assert states() == ["in_progress", "in_progress", "fixed"]
    told = done.json()
    assert told["changed"] == 2
    assert told["left"] == [
        {"why": "It is fixed: it must be opened first.", "count": 1, "findings": [str(three[2].uid)]}
    ]
    rows = Decision.objects.order_by("finding__line")
    assert [(row.was, row.status, row.reason, row.decided_by) for row in rows] == [
        ("open", "in_progress", WHY, ana)
    ] * 2
    for event, number in (("findings:triaged", 2), ("decisions:made", 2)):
        assert AuditEntry.objects.filter(event=event, actor=ana).count() == number


def test_what_lacks_something_or_is_nothing_changes_nothing(post, three):
    uids = named(three)
    for wrong, error in (
        ({"findings": uids, "kind": "decide", "status": "fixed"}, "Give a reason"),
        ({"findings": uids, "kind": "decide", "status": "accepted", "reason": WHY}, "Say until when"),
        ({"findings": uids, "kind": "decide", "status": "duplicate", "reason": WHY}, "which finding"),
        ({"findings": uids, "kind": "decide", "reason": WHY}, "is needed"),
        ({"findings": uids, "kind": "tag", "tag": "<script>"}, "A tag is a word"),
        ({"findings": uids, "kind": "tag", "tag": "x" * 10_000_000}, ""),
        ({"findings": uids, "kind": "assign", "owner": NOWHERE}, "nobody of that name"),
        ({"findings": uids, "filter": {}, "count": 3, "kind": "tag", "tag": "x"}, "either findings or filter"),
        ({"filter": {}, "kind": "tag", "tag": "x"}, "goes with filter"),
        ({"filter": {"colour": "red"}, "count": 3, "kind": "tag", "tag": "x"}, "unknown: colour"),
        ({"filter": {"status": "gone"}, "count": 3, "kind": "tag", "tag": "x"}, "gone"),
        ({"filter": {"severity": "gone"}, "count": 3, "kind": "tag", "tag": "x"}, "is one or more of"),
        ({"findings": ["x"], "kind": "tag", "tag": "x"}, "UUID"),
        ({"findings": uids, "kind": "burn"}, "burn"),
        ({"findings": [NOWHERE] * 1001, "kind": "tag", "tag": "x"}, "1000"),
    ):
        answered = post(**wrong)
        assert answered.status_code in (400, 413), (wrong, answered.content[:300])
        assert error in answered.content.decode(), answered.content[:300]
    assert (states(), BulkAction.objects.count(), Decision.objects.count()) == (["open"] * 3, 0, 0)


def test_all_that_a_filter_shows_is_confirmed_by_its_number(post, three, asset):
    asked = {"filter": {"status": "open,triaged", "q": "shop"}, "kind": "decide", "status": "triaged"}
    changed = post(**asked, count=2)
    assert (changed.status_code, changed.json()["count"]) == (409, 3)
    assert "shows 3 findings now, not 2" in changed.json()["detail"]
    assert states() == ["open"] * 3
    assert post(**asked, count=3).json()["changed"] == 3
    assert states() == ["triaged"] * 3


def test_undo_gives_back_exactly_what_it_changed(post, three):
    put(Finding.objects.filter(pk=three[0].pk), status="in_progress")
    put(Finding.objects.filter(pk=three[2].pk), status="false_positive")
    before = list(Finding.objects.order_by("pk").values())
    done = decide(post, three, "fixed")
    assert states() == ["fixed", "fixed", "false_positive"]
    back = undone(post, done)
    assert (back.status_code, back.json()["restored"], back.json()["kept"]) == (200, 2, 0)
    assert list(Finding.objects.order_by("pk").values()) == before
    assert AuditEntry.objects.filter(event="findings:restored").count() == 2
    assert Decision.objects.exclude(undone_at=None).count() == 2
    again = undone(post, done)
    assert (again.status_code, "was undone at" in again.json()["detail"]) == (409, True)
    assert list(Finding.objects.order_by("pk").values()) == before


def test_undo_leaves_what_came_after(post, three, asset):
    done = decide(post, three, "fixed")
    scanned(asset, 1, 3)  # sees two again: they are open
    put(Finding.objects.filter(pk=three[2].pk), status="fixed", fixed_at=timezone.now())  # a scan closed it anew
    back = undone(post, done).json()
    assert (back["restored"], back["kept"]) == (1, 2)
    assert states() == ["open", "open", "fixed"]


def test_undo_leaves_what_somebody_decided_since(post, three):
    done = decide(post, three)
    for status in ("open", "false_positive"):  # there and back is a word too
        assert post("/decisions", finding=str(three[0].uid), status=status, reason=WHY).status_code == 201
    assert undone(post, done).json()["kept"] == 1
    assert states() == ["false_positive", "open", "open"]


def test_undo_ends_after_ten_minutes(post, three, monkeypatch):
    done = decide(post, three)
    later = timezone.now() + timedelta(minutes=10)
    monkeypatch.setattr(undo.timezone, "now", lambda: later)
    late = undone(post, done)
    assert (late.status_code, "more than ten minutes ago" in late.json()["detail"]) == (409, True)
    assert states() == ["false_positive"] * 3
    monkeypatch.undo()
    undo.forget()
    assert BulkChange.objects.count() == 3
    put(BulkAction.objects.all(), done_at=timezone.now() - timedelta(minutes=16))
    undo.forget()
    assert BulkChange.objects.count() == 0


def test_acceptances_go_through_the_second_person_each(post, three, olga, client_for):
    done = decide(post, three, "accepted", until=in_days(9))
    assert (done.json()["changed"], states()) == (3, ["open"] * 3)
    again = decide(post, three, "accepted", until=in_days(9)).json()
    assert (again["changed"], again["left"][0]["count"]) == (0, 3)
    asked = Decision.objects.waiting().get(finding=three[0])
    path = f"/decisions/{asked.uid}/approve"
    assert post(path).status_code == 409  # not oneself
    assert client_for(olga).post(f"/api/v1{path}").status_code == 200
    assert undone(post, done).json()["restored"] == 2  # the approved one is a second person's word
    assert states() == ["accepted", "open", "open"]
    assert Decision.objects.waiting().count() == 0


def test_an_acceptance_that_a_bulk_action_closed_waits_again_after_undo(post, three):
    decide(post, three[:1], "accepted", until=in_days(9))
    asked = Decision.objects.get()
    done = decide(post, three, "false_positive")
    asked.refresh_from_db()
    assert (asked.is_approved, asked.is_waiting) == (False, False)
    assert undone(post, done).json()["restored"] == 3
    asked.refresh_from_db()
    assert (asked.is_approved, asked.is_waiting, asked.answer) == (None, True, "")


def test_owner_and_tags_in_bulk(post, three, dev, ana):
    given = post(findings=named(three), kind="assign", owner=str(dev.uid))
    assert given.json()["changed"] == 3
    assert post(findings=named(three), kind="assign", owner=str(dev.uid)).json()["changed"] == 0
    post(findings=named(three[:1]), kind="assign", owner=str(ana.uid))
    back = undone(post, given).json()
    assert (back["restored"], back["kept"]) == (2, 1)
    assert list(Finding.objects.order_by("line").values_list("owner", flat=True)) == [ana.pk, None, None]
    tagged = post(findings=named(three), kind="tag", tag=" Needs  Review ")
    assert tagged.json()["tag"] == "needs-review"
    post(f"/findings/{three[0].uid}/tags", remove=["needs-review"])
    post(f"/findings/{three[0].uid}/tags", add=["needs-review"])  # somebody's own now
    assert undone(post, tagged).json()["restored"] == 2
    assert list(three[0].tags.values_list("word", flat=True)) == ["needs-review"]
    gone = post(findings=named(three), kind="untag", tag="NEEDS-REVIEW").json()
    assert (gone["changed"], gone["left"][0]["why"]) == (1, "It has no such tag.")


def test_of_others_findings_nothing_is_changed_and_nothing_told(post, three, ana, client_for, tmp_path, dev):
    """Ida triages in one unit and reads in another; a third she does not see."""
    here, seen, hidden = (create_unit(name, parent=root_unit()) for name in ("here", "seen", "hidden"))
    found = []
    for unit in (here, seen, hidden):
        (tmp_path / unit.name).mkdir()
        scanned(asset_at(tmp_path / unit.name, unit=unit), 1)
        found.append(Finding.objects.get(asset__unit=unit))
    ida = make_person("Ida")
    assign_role(ida, "analyst", unit=here, reason="x")
    assign_role(ida, "developer", unit=seen, reason="x")
    client = client_for(ida)
    asked = {"findings": [*named(found), NOWHERE], "kind": "decide", "status": "triaged"}
    done = client.post("/api/v1/bulk-actions", asked, content_type="application/json")
    assert done.json()["changed"] == 1
    assert {group["why"]: group["findings"] for group in done.json()["left"]} == {
        bulk.OUT_OF_SIGHT: sorted([str(found[2].uid), NOWHERE]),
        bulk.NOT_YOURS: [str(found[1].uid)],
    }
    assert [status_of(finding) for finding in found] == ["triaged", "open", "open"]
    path = f"/bulk-actions/{done.json()['uid']}"
    assert post(f"{path}/undo").status_code == 404  # another's
    all_of_it = {"filter": {}, "count": 2, "kind": "tag", "tag": "mine"}
    assert client.post("/api/v1/bulk-actions", all_of_it, content_type="application/json").json()["changed"] == 1
    given = {"findings": named(found[:1]), "kind": "assign", "owner": str(dev.uid)}
    assert client.post("/api/v1/bulk-actions", given, content_type="application/json").json()["changed"] == 1
    ivo = make_person("Ivo")
    left = client.post("/api/v1/bulk-actions", {**given, "owner": str(ivo.uid)}, content_type="application/json").json()
    assert left["left"][0]["why"] == "The new owner may not see it."
    reader = client_for(dev)
    refused = reader.post("/api/v1/bulk-actions", asked, content_type="application/json")
    assert (refused.status_code, refused.json()["missing_permission"]) == (403, "findings:triage")


def test_a_thousand_cost_a_few_queries_each_batch(post, asset, ana, django_assert_max_num_queries):
    scanned(asset, *range(1, 1101))
    with django_assert_max_num_queries(160):
        done = post(filter={"asset": str(asset.uid)}, count=1100, kind="decide", status="false_positive", reason=WHY)
    assert done.json()["changed"] == 1100
    assert AuditEntry.objects.filter(event="findings:triaged").count() == 1100
    with django_assert_max_num_queries(160):
        assert undone(post, done).json()["restored"] == 1100


def test_different_decisions_each_by_itself(post, three):
    items = [
        {"finding": str(three[0].uid), "status": "triaged"},
        {"finding": str(three[1].uid), "status": "fixed"},
        {"finding": NOWHERE, "status": "triaged"},
    ]
    done = post("/decisions/bulk", items=items).json()
    assert [row["status"] for row in done["results"]] == [201, 400, 404]
    assert states() == ["triaged", "open", "open"]


def test_the_console_asks_once_more_and_offers_the_way_back(client_for, ana, three):
    client = client_for(ana)
    queue = client.get("/findings").content.decode()
    assert f'name="finding" value="{three[0].uid}"' in queue
    page = client.get("/bulk-actions", {"finding": named(three[:2]), "query": "?status=open"})
    assert "Change 2 findings" in page.content.decode()
    chosen = {"finding": named(three[:2]), "query": "status=open", "count": 2}
    refused = client.post("/bulk-actions", {**chosen, "kind": "decide", "status": "fixed", "reason": ""})
    assert (refused.status_code, "Give a reason" in refused.content.decode()) == (400, True)
    vague = client.post("/bulk-actions", {**chosen, "kind": "decide", "status": "", "reason": WHY})
    assert (vague.status_code, "Say what they are" in vague.content.decode()) == (400, True)
    done = client.post("/bulk-actions", {**chosen, "kind": "decide", "status": "fixed", "reason": WHY}, follow=True)
    assert done.redirect_chain == [("/findings?status=open", 302)]
    assert "2 findings set to fixed" in done.content.decode()
    assert "10 min left" in done.content.decode()
    action = BulkAction.objects.get()
    assert (
        "Undone: 2 are as they were." in client.post(f"/bulk-actions/{action.uid}/undo", follow=True).content.decode()
    )
    assert "set to fixed" not in client.get("/findings").content.decode()
    assert "already" in client.post(f"/bulk-actions/{action.uid}/undo", follow=True).content.decode()
    everything = {"all": "yes", "query": "?status=open", "kind": "tag", "word": "later"}
    stale = client.post("/bulk-actions", {**everything, "count": 2})
    assert "shows 3 findings now" in stale.content.decode()
    client.post("/bulk-actions", {**everything, "count": 3})
    assert "#later" in client.get("/findings?tag=later").content.decode()
    assert "Choose the findings first" in client.get("/bulk-actions", follow=True).content.decode()
    assert client.get("/bulk-actions?finding=x").status_code == 404


def test_who_may_not_decide_is_offered_no_boxes(client_for, dev, three):
    client = client_for(dev)
    assert 'name="finding"' not in client.get("/findings").content.decode()
    assert client.get("/bulk-actions", {"finding": named(three)}).status_code == 403
