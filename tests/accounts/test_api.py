"""`/api/v1/users`: looking accounts up, for those who may read them in the admin."""

import pytest
from django.test import Client

from accounts.mfa.models import Passkey
from accounts.models import User
from accounts.services import set_active
from accounts.tokens.service_accounts import create_service_account
from accounts.tokens.services import issue_token
from audit.models import AuditEntry
from rbac.services import assign_role, create_unit, root_unit
from tests.conftest import enrolled, make_person

USERS, NOWHERE = "/api/v1/users", "01a20bd9-1d59-7949-b8ec-209801f0f979"


@pytest.fixture
def people(olga, adam, dev, eve) -> None:
    """Olga has an app, Adam an app and a passkey, Dev and Eve nothing; Dev is out, ci is a program."""
    enrolled(olga)
    enrolled(adam)
    Passkey.objects.create(user=adam, name="key", credential_id=b"adam", public_key=b"")
    set_active(dev, False)
    create_service_account("ci@example.org", name="ci")


def emails(client: Client, query: str = "") -> list[str]:
    answer = client.get(USERS + query)
    assert answer.status_code == 200, answer.content
    return sorted(row["email"].partition("@")[0] for row in answer.json()["results"])


def test_each_account_with_its_strongest_factor_and_nothing_secret(people, olga, client_for):
    rows = {row["email"]: row for row in client_for(olga).get(USERS).json()["results"]}
    factors = {email.partition("@")[0]: row["second_factor"] for email, row in rows.items()}
    assert factors == {"olga": "otp", "adam": "passkey", "dev": "none", "eve": "none", "ci": None}
    assert set(rows["olga@example.org"]) == {
        "uid", "kind", "email", "name", "is_active", "second_factor", "created_at", "last_login",
    }  # fmt: skip
    assert (rows["dev@example.org"]["is_active"], rows["ci@example.org"]["kind"]) == (False, "service")


@pytest.mark.parametrize(
    ("query", "who"),
    [
        ("?is_active=false", ["dev"]),
        ("?is_active=true&kind=person", ["adam", "eve", "olga"]),
        ("?email=EVE@Example.org", ["eve"]),
        ("?email=eve", []),
        ("?kind=service", ["ci"]),
        ("?second_factor=none", ["dev", "eve"]),
        ("?second_factor=passkey&is_active=true", ["adam"]),
    ],
)
def test_it_is_narrowed(people, olga, client_for, query, who):
    assert emails(client_for(olga), query) == who


@pytest.mark.parametrize(
    "query", ["?is_active=perhaps", "?second_factor=strong", "?kind=x", "?name=eve", "?email=a&email=b"]
)
def test_what_is_no_filter_is_a_400_that_names_it(olga, client_for, query):
    answer = client_for(olga).get(USERS + query)
    assert answer.status_code == 400
    assert query[1:].partition("=")[0] in answer.json()["errors"]


def test_it_is_walked_page_by_page(people, olga, client_for):
    client, seen, place = client_for(olga), [], USERS + "?limit=2"
    while place:
        page = client.get(place.removeprefix("http://testserver")).json()
        seen += [row["email"] for row in page["results"]]
        place = page["next"]
    assert sorted(seen) == sorted(User.objects.values_list("email", flat=True))


def test_one_and_its_version(people, olga, eve, client_for):
    client = client_for(olga)
    answer = client.get(f"{USERS}/{eve.uid}")
    assert (answer.status_code, answer.json()["email"], answer.json()["second_factor"]) == (200, eve.email, "none")
    assert client.get(f"{USERS}/{eve.uid}", headers={"if-none-match": answer["ETag"]}).status_code == 304
    enrolled(eve)
    assert client.get(f"{USERS}/{eve.uid}", headers={"if-none-match": answer["ETag"]}).status_code == 200
    assert AuditEntry.objects.filter(event="records:read", resource_id=str(eve.uid)).exists()
    for method in (client.patch, client.delete, client.put):
        assert method(f"{USERS}/{eve.uid}", "{}", content_type="application/json").status_code == 405
    assert client.post(USERS, "{}", content_type="application/json").status_code == 405


def test_without_the_permission_and_out_of_sight(people, olga, eve, client_for):
    answer = client_for(eve).get(USERS)
    assert (answer.status_code, answer.json()["missing_permission"]) == (403, "users:read")
    assert client_for(eve).get(f"{USERS}/{olga.uid}").status_code == 403
    assert Client().get(USERS).status_code == 401
    sam = make_person("Sam")  # an auditor of one unit: accounts sit in none, so they are out of sight
    assign_role(sam, "auditor", reason="x", unit=create_unit("Alpha", parent=root_unit()))
    for uid in (olga.uid, NOWHERE):
        assert client_for(sam).get(f"{USERS}/{uid}").json()["missing_permission"] == "users:read"
    assert client_for(olga).get(f"{USERS}/{NOWHERE}").status_code == 404
    _, text = issue_token(olga, name="x", scopes=["findings:read"])
    assert Client(headers={"authorization": f"Bearer {text}"}).get(USERS).status_code == 403


def test_it_costs_the_same_for_many(people, olga, client_for, django_assert_max_num_queries):
    client = client_for(olga)
    with django_assert_max_num_queries(14) as few:
        client.get(USERS)
    for n in range(40):
        User.objects.create(email=f"p{n}@example.org", password="!")
    with django_assert_max_num_queries(len(few)):
        client.get(USERS + "?limit=50")
