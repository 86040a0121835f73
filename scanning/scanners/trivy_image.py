"""Trivy on a container image: its packages, what its files configure, and secrets in its layers. The image lies in a
file, or trivy pulls it from its registry. It asks no container engine."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from django.conf import settings

from scanning.scanners.base import ONE_BY_ONE, Pull, Scanner, register_for_images
from scanning.scanners.trivy import Trivy

# What it calls by itself, and by what a cloud would know this machine: it asks as nobody but whom the asset names.
ALONE = {
    "NO_PROXY": "*",
    "TRIVY_SKIP_VERSION_CHECK": "true",
    "TRIVY_DISABLE_TELEMETRY": "true",
    "AWS_EC2_METADATA_DISABLED": "true",
    "GCE_METADATA_HOST": "127.0.0.1:9",  # where nobody listens
}
TROUBLES = {
    "UNAUTHORIZED|DENIED|unexpected status code 40[13]": "its registry does not let us: name and secret are wrong, "
    "missing, or not good for this image",
    "MANIFEST_UNKNOWN|NAME_UNKNOWN|unexpected status code 404": "its registry has no such image, tag or digest",
    "TOOMANYREQUESTS|unexpected status code 429": "its registry has had too many requests from us. Try again later",
    "no such host": "its registry's name leads nowhere",
    "connection refused|no route to host|network is unreachable": "nobody answers where its registry should be",
    "i/o timeout|deadline exceeded": "its registry does not answer in time",
    "x509:|certificate": "its registry's certificate is not trusted on this machine",
    "gave HTTP response to HTTPS client": "its registry speaks plain http, which is not taken here",
    "exceeds maximum allowed size": "it holds more than {most} MB, the most that is unpacked (OPSSIGHT_CHECKOUT_MAX)",
    "no child with platform": "its registry has none for linux/amd64",
    "unknown flag": "this takes trivy 0.59 or newer",
}


@register_for_images
class TrivyImage(Trivy):
    reads = "a container image"
    pace = ONE_BY_ONE
    staged = False

    def fits(self, name: str) -> bool:
        return True

    def command(self, files: list[str], report: Path) -> list[str]:
        return [*self._call("image", report), "--input", files[0]]

    def pulling(self, image: Pull) -> Scanner:
        return TrivyPull(image)


class TrivyPull(TrivyImage):
    """The one run of trivy that keeps the network, for its registry."""

    network = True

    def __init__(self, image: Pull) -> None:
        self.image = image

    @property
    def environment(self) -> Mapping[str, str]:
        known = {"TRIVY_USERNAME": self.image.username, "TRIVY_PASSWORD": self.image.secret}
        return ALONE | (known if self.image.secret else {})

    @property
    def hidden(self) -> tuple[str, ...]:
        """A registry may answer with what it was sent."""
        if not self.image.secret:
            return ()
        sent = f"{self.image.username}:{self.image.secret}".encode()
        return base64.b64encode(sent).decode(), quote(self.image.secret, safe=""), self.image.secret

    def command(self, files: list[str], report: Path) -> list[str]:
        most = f"{settings.CHECKOUT_MAX}MB"
        return [*self._call("image", report), "--image-src", "remote", "--max-image-size", most, "--", files[0]]

    def trouble(self, said: str) -> str:
        for pattern, why in TROUBLES.items():
            if re.search(pattern, said):
                told = why.format(most=settings.CHECKOUT_MAX)
                return f"{self.image.reference} could not be pulled: {told}. Nothing was closed."
        return ""
