"""No secret reaches the trail: markers are written into every field of every followed model."""

import datetime
import itertools
import uuid

import pytest
from auditlog.registry import auditlog
from django.contrib.auth.models import Group
from django.db import connection, models, transaction
from django.db.models.fields.json import JSONField

from audit.followed import Followed, fingerprint, followed, suggests_secret
from audit.models import AuditEntry, AuditPersonal
from audit.registry import audited
from audit.services import label_of, log_action
from opssight.kernel import events
from opssight.kernel.events import bulk_record

MARK = "hunter2"
_numbers = itertools.count(10_000)


def everything():
    """All text of the trail, side rows included."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM audit_auditentry")
        entries = str(cursor.fetchall())
        cursor.execute("SELECT * FROM audit_auditpersonal")
        return entries + str(cursor.fetchall())


def value_of(field: models.Field, marked: bool):
    """A value of the field's type; where it may hold one, a marker that names the field."""
    n = next(_numbers)
    match field:
        case _ if field.choices:
            return field.choices[0][0]
        case JSONField():
            return {f"{MARK}{n}": f"{MARK}{n}"} if marked else {}
        case models.CharField() | models.TextField():
            text = f"{MARK if marked else 'plain'}{n}"
            return text[-(field.max_length or 40) :] if field.max_length else text
        case models.BooleanField():
            return False
        case models.DateTimeField():
            return datetime.datetime.now(datetime.UTC)
        case models.UUIDField():
            return uuid.uuid4()
        case models.IntegerField():
            return n % 30_000
    return None


def masked_text(entry: Followed) -> list[str]:
    return [
        name
        for name in entry.masked
        if isinstance(entry.fields[name], models.CharField | models.TextField | JSONField)
        and not entry.fields[name].choices
    ]


def build(entry: Followed) -> models.Model:
    values = {}
    for field in entry.model._meta.concrete_fields:
        if field.primary_key or field.is_relation:
            continue
        values[field.name] = value_of(field, field.name in entry.masked)
    obj = entry.model(**values)
    obj.__dict__.update({f.attname: 1 for f in entry.model._meta.concrete_fields if isinstance(f, models.ForeignKey)})
    return obj


@pytest.mark.parametrize(
    "model",  # a proxy is told of as its model
    sorted({model._meta.concrete_model for model in auditlog.get_models()}, key=lambda m: m._meta.label_lower),
    ids=lambda m: m.__name__,
)
def test_no_secret_field_of_any_model_reaches_the_trail(db, model):
    """Through the receivers alone: rows of every model can't be made without their relations."""
    from audit import capture

    entry = followed(model)
    obj = build(entry)
    obj.pk = 77_777
    for name in masked_text(entry):
        assert MARK in str(getattr(obj, entry.fields[name].attname)), name
    before = {name: value_of(field, name in entry.masked) for name, field in entry.fields.items()}
    capture._after_save(model, obj, created=True, using="default", update_fields=None)
    obj.__dict__[capture.BEFORE] = before
    capture._after_save(model, obj, created=False, using="default", update_fields=None)
    obj.__dict__[capture.BEFORE] = (before, label_of(obj))
    capture._after_delete(model, obj, using="default")
    told = AuditEntry.objects.filter(resource_type=entry.label, object_pk="77777").order_by("id")
    assert [row.action for row in told] == [0, 1, 2] or entry.fields.keys() <= {"uid"}
    for name in masked_text(entry):
        assert told[0].changes[name][1].startswith("••••"), name
    assert MARK not in everything()


def test_a_text_field_that_nobody_declared_is_masked(db):
    for model in auditlog.get_models():
        entry = followed(model)
        for name, field in entry.fields.items():
            free = isinstance(field, models.CharField | models.TextField | JSONField) and not field.choices
            assert not free or name in entry.open | entry.masked | entry.personal
            if suggests_secret(name) and name in entry.open:
                # The names of things, which the model's registration vouches for.
                assert (entry.label, name) in {
                    ("tokens.token", "key"),
                    ("sso.provider", "token_url"),
                    ("rbac.role", "key"),
                    ("compliance.control", "key"),
                    ("compliance.framework", "key"),
                }


def test_the_ways_round_the_receivers_are_masked_too(eve):
    bulk_record(
        events.registry["findings:raised"], [(eve, {"password": [f"{MARK}1", f"{MARK}2"], "odd": [None, MARK]})]
    )
    log_action(None, "UPDATE", "accounts.user", "1", {"password": MARK}, {"password": f"{MARK}3"})
    log_action(None, "UPDATE", "somebody.else", "1", {"api_key": MARK}, {"api_key": f"{MARK}4"})
    events.registry["scans:started"].emit(target=eve, client_secret=MARK, token=[MARK])
    AuditEntry.objects.log_create(eve, action=1, changes={"password": [MARK, f"{MARK}5"]})
    assert MARK not in everything()


def test_a_refused_change_names_fields_and_never_values(olga, client_for):
    client = client_for(olga, step_up=True)
    for body in ({"name": [MARK], "kind": MARK, "parent": MARK}, {"name": f"{MARK}\0", "kind": "team", "parent": MARK}):
        assert client.post("/api/v1/units", body, "application/json").status_code == 400
    answer = client.post("/api/v1/tokens", {"name": "x", "scopes": [], "days": MARK}, "application/json")
    assert answer.status_code == 400
    refused = AuditEntry.objects.filter(event="changes:refused").order_by("id")
    assert [(row.action, row.success, row.resource_type) for row in refused] == [
        (0, False, "rbac.unit"),
        (0, False, "rbac.unit"),
        (0, False, "tokens.token"),
    ]
    assert refused[0].additional_data["fields"] == ["kind", "name", "parent"]
    assert refused[0].error_message == "not valid: kind, name, parent"
    assert MARK not in everything()


def test_fingerprints_tell_fields_apart_and_nothing_stays_nothing(settings):
    assert fingerprint("x", "a.b") == fingerprint("x", "a.b") != fingerprint("x", "a.c")
    assert (fingerprint(None), fingerprint("")) == (None, "")
    before = fingerprint("x", "a.b")
    settings.HASH_KEY = "another key of sufficient length"
    assert fingerprint("x", "a.b") != before


@pytest.mark.parametrize("wrong", [{"plain": ("nmae",)}, {"m2m": ("name",)}, {"ignore": ("x",)}, {}])
def test_a_registration_with_a_wrong_name_or_twice_is_refused(wrong):
    with pytest.raises(ValueError, match="twice" if not wrong else "no such field"):
        audited(Group, **wrong)


def test_side_rows_and_entries_are_one_to_one(eve):
    with transaction.atomic():
        eve.name = "Eva"
        eve.save()
    assert AuditPersonal.objects.count() == AuditEntry.objects.count()
