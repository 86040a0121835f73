"""Container images in a registry: which references are taken, and which registries may be asked.

Trivy pulls them by itself. It looks the name up once more and goes where the registry sends it, which this judgement
can't cover: so nothing is pulled unless the operator allows it.
"""

import re

from django.conf import settings

from scanning.scanners.base import Pull
from scanning.sources.base import BadTarget, is_listed, judged

# The grammar of the OCI distribution specification, with the digest that registries use.
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_PART}(?:/{_PART})*)(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?"
)
LONGEST = 255  # characters of a name without tag and digest
SHORTEST = 2  # of what stands behind the registry; the grammar would take one
DOCKER_HUB = {"docker.io": "index.docker.io"}  # what is really asked
_CREDENTIAL = re.compile(r"[^\s,]+")  # trivy takes a list of them, and splits it


def check_reference(reference: str) -> tuple[str, int]:
    """Host and port of the registry. BadTarget with a sentence where the image is not to be pulled. Looks up no
    name."""
    if "://" in reference:
        raise BadTarget("A reference to an image has no https:// in front of it: registry.example/team/app:1.2.")
    found = _REFERENCE.fullmatch(reference)
    if not found or len(found["name"]) > LONGEST:
        raise BadTarget(
            f"{reference[:100]!r} is no reference to an image, such as registry.example/team/app:1.2 (with @sha256:… "
            "for one that stays what it is), nor the absolute path of a file."
        )
    if not _names_host(reference):
        whole = reference if "/" in reference else f"library/{reference}"
        raise BadTarget(
            f"{reference} does not name its registry. Write docker.io/{whole} if that is meant, or the absolute path "
            "of a file."
        )
    registry, _, repository = found["name"].partition("/")
    if len(repository) < SHORTEST:
        raise BadTarget(f"{repository} is too short for an image's name: trivy takes {SHORTEST} characters or more.")
    host, _, port = registry.partition(":")
    if port and not 0 < int(port) < 65_536:
        raise BadTarget(f"{port} is no port.")
    if host.lower().endswith((".local", ".localhost")) and not is_listed(host):
        raise BadTarget(f"{host} may be asked by plain http, so OPSSIGHT_OUTGOING_ALLOW must list this name.")
    if not settings.IMAGE_PULLS:
        raise BadTarget("Images are pulled only where OPSSIGHT_IMAGE_PULLS is on. Turn it on, or give a file.")
    host = host.lower()
    return DOCKER_HUB.get(host, host), int(port or 443)


def is_reference(text: str) -> bool:
    """Whether it is one that names its registry, whatever else speaks against pulling it."""
    return bool(_REFERENCE.fullmatch(text)) and _names_host(text)


def _names_host(reference: str) -> bool:
    first, slash, _ = reference.partition("/")
    return bool(slash) and (first == "localhost" or "." in first or ":" in first)


def to_pull(reference: str, username: str, secret: str) -> Pull:
    """What the tool needs, once the registry's address is judged as that of any call. BadTarget otherwise."""
    judged(*check_reference(reference), what="registry")
    if bool(username) != bool(secret):
        raise BadTarget("A registry wants name and secret together, and only one of them is given.")
    if username and not (_CREDENTIAL.fullmatch(username) and _CREDENTIAL.fullmatch(secret) and secret.isprintable()):
        raise BadTarget("Trivy takes no name or secret with spaces or commas. Give an access token of the registry's.")
    return Pull(reference, username, secret)
