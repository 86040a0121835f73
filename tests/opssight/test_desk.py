"""The queue as a desk, over HTTP: deciding in the panel, and saved views, with what they refuse."""

import re
from html import unescape

import pytest

from scanning.models import Finding
from scanning.triage.models import Decision, SavedView
from scanning.triage.saved_views import MOST, NotKept, save_view
from tests.conftest import make_person
from tests.opssight.test_console import HTMX, make_asset, make_findings, make_scan, text

pytestmark = pytest.mark.django_db
WHY = "Not reachable from outside"


@pytest.fixture
def three():
    return make_findings(make_scan(make_asset()), 3)


@pytest.fixture
def analyst(client_for):
    return client_for(make_person("Ana", "analyst"))


def beside(query: str = "") -> dict[str, str]:
    """What htmx sends from the queue at this address."""
    return {**HTMX, "HX-Current-URL": f"http://testserver/findings{query}"}


def decide(client, finding, *, query="", **data):
    return client.post(f"/findings/{finding.uid}/decide", data, headers=beside(query))


# --- deciding in the panel ----------------------------------------------------------------------------------------


def test_the_form_is_a_part_for_the_script_and_a_page_for_others(analyst, three):
    part = analyst.get(f"/findings/{three[0].uid}/decide", headers=HTMX).content.decode()
    page = analyst.get(f"/findings/{three[0].uid}/decide").content.decode()
    assert "<html" not in part
    assert "<html" in page
    fields = [sorted(set(re.findall(r'name="(\w+)"', html))) for html in (part, page)]
    assert set(fields[0]) == {"csrfmiddlewaretoken", "status", "reason", "until", "original"} <= set(fields[1])


@pytest.mark.parametrize(
    ("data", "field", "says"),
    [
        ({"status": "false_positive", "reason": " "}, "id_reason", "Give a reason"),
        ({"status": "accepted", "reason": WHY}, "id_until", "Say until when"),
        ({"status": "duplicate", "reason": WHY}, "id_original", "Say which finding"),
        ({"status": "duplicate", "reason": WHY, "original": "F-999999"}, "id_original", "There is no finding"),
        ({"status": "gone", "reason": WHY}, "id_status", "gone"),
        ({"status": "fixed", "reason": "a\u202eb"}, "id_reason", "U+202E"),
        ({"status": "fixed", "reason": WHY, "is_admin": "yes"}, "", "Unknown field: is_admin"),
    ],
)
@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "panel"])
def test_refusals_stand_at_the_field_in_both(analyst, three, headers, data, field, says):
    answer = analyst.post(f"/findings/{three[0].uid}/decide", data, headers=headers)
    html = unescape(answer.content.decode())
    assert (answer.status_code, says in html) == (400, True)
    assert re.findall(r'<(?:input|select)[^>]* id="(\w+)"[^>]*aria-invalid', html) == ([field] if field else [])
    assert set(Finding.objects.values_list("status", flat=True)) == {"open"}


def test_what_the_queue_shows_no_more_goes_and_the_next_one_opens(analyst, three):
    first, second, _ = three
    answer = decide(
        analyst, first, status="false_positive", reason=WHY, next=str(second.uid), query="?severity=high&open=x"
    )
    html = answer.content.decode()
    assert answer.status_code == 200
    assert f'data-finding="{second.uid}"' in html
    assert f'<tr id="row-{first.uid}" hx-swap-oob="delete">' in html
    assert f"Your decision about {first.label} is kept: False positive." in html
    assert (answer["HX-Retarget"], answer["HX-Push-Url"]) == ("#panel", f"/findings?severity=high&open={second.uid}")
    assert 'id="count-findings" hx-swap-oob="true">2<' in html


@pytest.mark.parametrize("query", ["", "?status=any", "?status=triaged", "?q=lpr"])
def test_what_it_still_shows_has_its_new_state(analyst, three, query):
    html = decide(analyst, three[0], status="triaged", query=query).content.decode()
    row = re.search(rf'<tr id="row-{three[0].uid}" hx-swap-oob="true".*?</tr>', html, re.S)
    assert "Triaged" in row[0]
    assert f'data-finding="{three[0].uid}"' in html  # nothing is next


def test_an_acceptance_leaves_the_row_and_says_that_it_waits(analyst, three):
    from django.utils import timezone

    day = (timezone.now() + timezone.timedelta(days=9)).date()
    html = decide(analyst, three[0], status="accepted", reason=WHY, until=str(day)).content.decode()
    assert f"Your decision about {three[0].label} waits for a second person." in html
    assert "hx-swap-oob" in re.search(rf'<tr id="row-{three[0].uid}"[^>]*>', html)[0]


@pytest.mark.parametrize(
    "query", ["?asset=01a20bd9-1d59-7949-b8ec-209801f0f979", "?severity=terrible", "?due=over&due=soon"]
)
def test_a_decision_stands_whatever_the_address_says(analyst, three, query):
    """What a browser says of where it is can be anything; an address that shows nothing has no row."""
    answer = decide(analyst, three[0], status="fixed", reason=WHY, query=query, next="<script>")
    assert (answer.status_code, Finding.objects.get(pk=three[0].pk).status) == (200, "fixed")
    assert f'<tr id="row-{three[0].uid}" hx-swap-oob="delete">' in answer.content.decode()
    elsewhere = analyst.post(
        f"/findings/{three[1].uid}/decide", {"status": "triaged"},
        headers={**HTMX, "HX-Current-URL": "http://evil.example/findings?status=fixed"},
    )  # fmt: skip
    assert elsewhere["HX-Push-Url"].startswith("/findings?")


def test_the_next_one_is_never_one_out_of_sight(client_for, three):
    from rbac.services import assign_role, create_unit, root_unit

    team = create_unit("Payments", parent=root_unit())
    person = make_person("Tea")
    assign_role(person, "analyst", unit=team, reason="test")
    own = make_findings(make_scan(make_asset("team-api", team)), 1, title="Own one")[0]
    client = client_for(person)
    html = decide(client, own, status="triaged", next=str(three[0].uid)).content.decode()
    assert f'data-finding="{own.uid}"' in html
    assert three[0].label + "<" not in html
    assert decide(client, three[0], status="triaged").status_code == 404
    assert client.get(f"/findings/{three[0].uid}/decide", headers=HTMX).status_code == 404


def test_who_may_not_decide_has_neither_form_nor_key(client_for, dev, three):
    client = client_for(dev)
    assert decide(client, three[0], status="triaged").status_code == 403
    assert not Decision.objects.exists()
    page = client.get(f"/findings?open={three[0].uid}").content.decode()
    assert "data-decide" not in page
    assert "decide: triaged" not in text(client.get("/findings"))
    assert "comment on it" in text(client.get("/findings"))


# --- saved views --------------------------------------------------------------------------------------------------


def saved(client, name="Mine and high", query="?severity=high&owner=me", **more):
    return client.post("/saved-views", {"name": name, "query": query, **more}, follow=True)


def test_a_view_is_ones_own(analyst, client_for, dev, three):
    assert "The view Mine and high is kept." in text(saved(analyst, query="?severity=high&owner=me&cursor=x&open=y"))
    view = SavedView.objects.get()
    assert view.query == "severity=high&owner=me"
    page = analyst.get(f"/findings?{view.query}").content.decode()
    assert 'href="/findings?severity=high&amp;owner=me" aria-current="true">Mine and high<' in page
    other = client_for(dev)
    assert "Mine and high" not in text(other.get("/findings"))
    assert other.post(f"/saved-views/{view.uid}/remove").status_code == 404
    assert "is removed" in text(analyst.post(f"/saved-views/{view.uid}/remove", follow=True))
    assert not SavedView.objects.exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"query": "?severity=terrible"}, "a value that the queue does not know"),
        ({"query": "?asset=01a20bd9-1d59-7949-b8ec-209801f0f979"}, "a value that the queue does not know"),
        ({"query": "?severty=high&is_admin=1"}, "the queue has no filter is_admin, severty"),
        ({"query": "?severity=high&" + "q=" + "a" * 2000}, "Filters"),
        ({"name": "a" * 61}, "Name"),
        ({"name": " "}, "Name"),
        ({"name": "a\u202eb"}, "Name"),
        ({"name": "a\nb"}, "Name"),
        ({"name": "a\0b"}, "Name"),
        ({"owner": "1"}, "Unknown field: owner"),
    ],
)
def test_what_is_no_view_is_refused(analyst, three, given, says):
    answer = saved(analyst, **given)
    assert says in text(answer)
    assert "not kept" in text(answer)
    assert not SavedView.objects.exists()


def test_a_name_is_text_and_taken_once_and_there_are_not_more_than_some(analyst, three):
    ana = SavedView.objects.model._meta.get_field("owner").related_model.objects.get(email="ana@example.org")
    page = saved(analyst, name="<script>alert(1)</script>").content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "You have a view" in text(saved(analyst, name="<SCRIPT>alert(1)</script>"))
    for number in range(MOST - 1):
        save_view(f"view {number}", "", by=ana)
    assert f"You have {MOST} views already" in text(saved(analyst, name="one more"))
    with pytest.raises(NotKept):
        save_view("one more", "", by=ana)
    save_view("one more", "", by=make_person("Bo"))


def test_views_that_everybody_has_open(analyst, three):
    page = analyst.get("/findings").content.decode()
    views = re.search(r'aria-label="Saved views">.*?</nav>', page, re.S)[0]
    links = re.findall(r'href="([^"]+)"[^>]*>([^<]+)<', views)
    assert [name for _, name in links] == ["Open", "Mine", "Overdue", "Exploited", "New this week"]
    for address, _ in links:
        shown = analyst.get(unescape(address))
        assert shown.status_code == 200
        assert shown.content.decode().count('aria-current="true"') >= 1


def test_new_is_what_was_first_seen_lately(analyst, three):
    from django.utils import timezone

    make_findings(
        make_scan(make_asset("old")), 1, title="Old one", first_seen_at=timezone.now() - timezone.timedelta(days=8)
    )
    assert "Old one" in text(analyst.get("/findings"))
    assert "Old one" not in text(analyst.get("/findings?new=7d"))
    assert "3 of 3" in text(analyst.get("/findings?new=7d"))


def test_who_may_read_no_finding_keeps_no_view(eve, client_for):
    assert client_for(eve).post("/saved-views", {"name": "x", "query": ""}).status_code == 403
    assert not SavedView.objects.exists()


def test_views_cost_one_query_however_many(analyst, three, django_assert_num_queries):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    analyst.get("/findings")
    with CaptureQueriesContext(connection) as without:
        analyst.get("/findings")
    cost = len(without)  # before the next request, which begins a new list of queries
    for number in range(5):
        saved(analyst, name=f"view {number}")
    with django_assert_num_queries(cost):
        analyst.get("/findings")
