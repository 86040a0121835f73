"""Owner, tags and comments: through the API and the console, by those who may and those who may not."""

import pytest
from django.core import mail

from accounts.services import set_active
from audit.models import AuditEntry
from rbac.services import assign_role, create_unit, root_unit
from scanning.models import Finding
from scanning.triage.models import Comment
from tests.conftest import letters, make_person

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7*7 }}"


@pytest.fixture
def ana(client_for):
    return client_for(make_person("Ana", "officer"))


def post(client, path: str, **data):
    return client.post(f"/api/v1{path}", data, content_type="application/json")


def test_an_owner_is_a_person_who_may_see_it(ana, finding, dev, eve, client_for):
    path = f"/findings/{finding.uid}/owner"
    given = post(ana, path, owner=str(dev.uid))
    assert (given.status_code, given.json()["owner"]) == (200, str(dev.uid))
    blind = post(ana, path, owner=str(eve.uid))
    nobody = post(ana, path, owner="01a20bd9-1d59-7949-b8ec-209801f0f979")
    assert (blind.status_code, blind.json()["detail"]) == (nobody.status_code, nobody.json()["detail"])
    assert blind.status_code == 400
    assert post(client_for(dev), path, owner=str(dev.uid)).json()["missing_permission"] == "findings:triage"
    assert [row["uid"] for row in client_for(dev).get("/api/v1/findings?owner=me").json()["results"]] == [
        str(finding.uid)
    ]
    assert len(ana.get("/api/v1/findings?owner=none").json()["results"]) == 1
    assert len(ana.get(f"/api/v1/findings?owner={dev.uid}").json()["results"]) == 1
    assert ana.get("/api/v1/findings?owner=everybody").status_code == 400
    assert "Nobody" not in ana.get("/findings?owner=me").content.decode().partition("<table")[2]
    letters()
    assert [(sent.to, finding.label in sent.subject) for sent in mail.outbox] == [([dev.email], True)]
    assert post(ana, path, owner=None).json()["owner"] is None
    assert AuditEntry.objects.filter(event="findings:assigned").count() == 2
    page = ana.get(finding.get_absolute_url()).content.decode()
    assert "nobody → Dev" in page
    assert "Dev → nobody" in page


def test_an_owner_who_left_shows(ana, finding, dev, olga):
    post(ana, f"/findings/{finding.uid}/owner", owner=str(dev.uid))
    set_active(dev, active=False)
    for page in (finding.get_absolute_url(), "/findings"):
        assert "deactivated" in ana.get(page).content.decode()
    assert ana.get(f"/findings?owner={dev.uid}").status_code == 200


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([" Needs  Review ", "needs-review", "ＮＥＥＤＳ review"], ["needs-review"]),
        (["Straße", "cve-2024/1"], ["cve-2024/1", "strasse"]),
        (["हिन्दी"], ["हिन्दी"]),
    ],
)
def test_a_tag_has_one_spelling(ana, finding, words, told):
    assert post(ana, f"/findings/{finding.uid}/tags", add=words).json()["tags"] == told
    for word in words:
        assert len(ana.get("/api/v1/findings", {"tag": word}).json()["results"]) == 1


@pytest.mark.parametrize(
    "word", ["", " ", "x" * 31, HOSTILE, "a\u202eb", "a\x00b", "-a", "a,b", "😀", "x" * 10_000_000]
)
def test_what_is_no_short_word_is_refused(ana, finding, word):
    assert post(ana, f"/findings/{finding.uid}/tags", add=[word]).status_code in (400, 413)
    assert not finding.tags.exists()


def test_a_finding_has_at_most_twenty_tags(ana, finding):
    path = f"/findings/{finding.uid}/tags"
    assert post(ana, path, add=[f"t{n}" for n in range(20)]).status_code == 200
    assert post(ana, path, add=["one-more"]).status_code == 400
    assert post(ana, path, add=["one-more"], remove=["t0"]).status_code == 200
    assert len(set(finding.tags.values_list("word", flat=True))) == 20
    entry = AuditEntry.objects.filter(event="findings:tagged").latest("id")
    assert entry.resource_id == str(finding.uid)
    assert entry.old_and_new["tags"][1].startswith("one-more, t1, t10")


def test_readers_comment_and_the_owner_hears_of_it(finding, dev, adam, eve, ana, client_for):
    post(ana, f"/findings/{finding.uid}/owner", owner=str(make_person("Oda", "developer").uid))
    client = client_for(dev)
    said = post(client, "/comments", finding=str(finding.uid), text=f"First.\nThen {HOSTILE}")
    assert said.status_code == 201, said.content
    letters()
    assert mail.outbox[-1].to == ["oda@example.org"]
    assert HOSTILE not in mail.outbox[-1].body
    assert post(client_for(adam), "/comments", finding=str(finding.uid), text="x").status_code == 403
    assert post(client_for(eve), "/comments", finding=str(finding.uid), text="x").status_code == 403
    page = client_for(adam).get(finding.get_absolute_url()).content.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    elsewhere = create_unit("Elsewhere", parent=root_unit())
    assign_role(eve, "officer", unit=elsewhere, reason="works there")
    stranger = client_for(eve)
    assert post(stranger, "/comments", finding=str(finding.uid), text="x").status_code == 404
    assert stranger.get(said["Location"]).status_code == 404
    assert stranger.get("/api/v1/comments").json()["results"] == []


@pytest.mark.parametrize("text", ["", " \n ", "x" * 4001, "a\x00b", "a\u202eb", "x" * 10_000_000])
def test_hostile_comments_are_refused(ana, finding, text):
    assert post(ana, "/comments", finding=str(finding.uid), text=text).status_code in (400, 413)
    assert ana.post(f"/findings/{finding.uid}/comments", {"text": text}).status_code in (400, 413)
    assert not Comment.objects.exists()


def test_a_comment_is_changed_by_its_author_and_shows_it(finding, dev, ana, client_for):
    client = client_for(dev)
    said = post(client, "/comments", finding=str(finding.uid), text="The key is hunter2")
    change = {"data": {"text": "The key is in the vault"}, "content_type": "application/json"}
    assert client.patch(said["Location"], **change).status_code == 428
    assert ana.patch(said["Location"], **change, headers={"If-Match": said["ETag"]}).status_code == 409
    changed = client.patch(said["Location"], **change, headers={"If-Match": said["ETag"]})
    assert changed.status_code == 200, changed.content
    assert changed.json()["edited_at"]
    assert client.delete(said["Location"]).status_code == 405
    entry = AuditEntry.objects.filter(resource_type="triage.comment").latest("id")
    assert entry.old_and_new["text"] == ["The key is hunter2", "The key is in the vault"]
    assert "says, changed" in ana.get(finding.get_absolute_url()).content.decode()


def test_the_console_does_all_of_it(ana, finding, dev, client_for):
    base = f"/findings/{finding.uid}"
    assert ana.post(f"{base}/owner", {"owner": "dev@example.org"}).status_code == 302
    assert Finding.objects.get(pk=finding.pk).owner == dev
    assert "nobody of that name" in ana.post(f"{base}/owner", {"owner": "eve@x.org"}, follow=True).content.decode()
    ana.post(f"{base}/owner", {"owner": "", "mine": "yes"})
    assert "is nobody&#x27;s now" in ana.post(f"{base}/owner", {"owner": ""}, follow=True).content.decode()
    ana.post(f"{base}/tags", {"add": "One, Two"})
    ana.post(f"{base}/tags", {"add": "", "remove": "one"})
    assert [tag.word for tag in finding.tags.all()] == ["two"]
    assert "A tag is a word" in ana.post(f"{base}/tags", {"add": HOSTILE}, follow=True).content.decode()
    reader = client_for(dev)
    assert reader.post(f"{base}/comments", {"text": "Seen\r\nit"}).status_code == 302
    said = Comment.objects.get()
    assert said.text == "Seen\nit"
    page = reader.get(base).content.decode()
    assert (f"/comments/{said.uid}/edit" in page, f"{base}/owner" in page, "two" in page) == (True, False, True)
    assert reader.post(f"/comments/{said.uid}/edit", {"text": "Seen"}).status_code == 302
    assert ana.post(f"/comments/{said.uid}/edit", {"text": "No"}).status_code == 400
    assert reader.post(f"{base}/owner", {"owner": "me"}).status_code == 403
    panel = ana.post(f"{base}/tags", {"add": "three"}, headers={"HX-Request": "true"}).content.decode()
    assert panel.lstrip().startswith("<aside")


def test_decisions_and_comments_are_one_history_also_without_the_trail(ana, finding, dev, client_for):
    post(ana, "/decisions", finding=str(finding.uid), status="false_positive", reason="Nobody can reach it.")
    post(client_for(dev), "/comments", finding=str(finding.uid), text="I could.")
    post(ana, "/decisions", finding=str(finding.uid), status="open", reason="Somebody can.")
    page = client_for(dev).get(finding.get_absolute_url()).content.decode()
    places = [page.index(text) for text in ("Somebody can.", "I could.", "Nobody can reach it.")]
    assert places == sorted(places)
    assert "findings:raised" not in page
    officers = ana.get(finding.get_absolute_url()).content.decode()
    assert "findings:raised" in officers
    assert "findings:triaged" not in officers  # the decision itself stands there
