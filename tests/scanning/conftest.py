import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from scanning.scanners import toolbox
from tests.services import missing

HOME = Path(os.environ.get("OPSSIGHT_SCANNERS_HOME") or django_settings.BASE_DIR / "var")


@pytest.fixture
def have(monkeypatch, tmp_path_factory) -> Callable[..., None]:
    """`have("bandit", "semgrep")`: a data folder with these tools and no other, installed once for all runs."""

    def link(*names: str) -> None:
        home = tmp_path_factory.mktemp("home")
        (home / "scanners").mkdir()
        for name in names:
            with monkeypatch.context() as patch:
                patch.setattr(toolbox.env, "HOME", HOME)
                try:
                    folder = toolbox.install(name).parent.parent
                except (OSError, subprocess.CalledProcessError) as error:
                    missing(f"{name} can't be installed: {error}")
            (home / "scanners" / folder.name).symlink_to(folder)
        monkeypatch.setattr(toolbox.env, "HOME", home)
        monkeypatch.setenv("PATH", "/usr/bin:/bin")  # where no vendor's program is, and a system's are

    return link
