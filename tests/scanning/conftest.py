import os
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from scanning.scanners import toolbox
from tests.services import missing

HOME = Path(os.environ.get("OPSSIGHT_SCANNERS_HOME") or django_settings.BASE_DIR / "var")
PROGRAMS = HOME / "tools" / "programs" / "vendors"


@pytest.fixture
def have(monkeypatch, tmp_path_factory) -> Callable[..., None]:
    """`have("bandit", "semgrep")`: a data folder and a PATH with these tools and no other, installed once for all
    runs: Python's here, vendors' programs by `make test-tools`."""

    def link(*names: str) -> None:
        home = tmp_path_factory.mktemp("home")
        (home / "scanners").mkdir()
        (home / "bin").mkdir()
        for name in names:
            if name in toolbox.ON_PATH:
                if not os.access(PROGRAMS / name, os.X_OK):
                    missing(f"there is no {name} to test with; run: make test-tools")
                (home / "bin" / name).symlink_to(PROGRAMS / name)
                continue
            with monkeypatch.context() as patch:
                patch.setattr(toolbox.env, "HOME", HOME)
                try:
                    folder = toolbox.install(name).parent.parent
                except (OSError, toolbox.InstallFailed) as error:
                    missing(f"{name} can't be installed: {error}")
            (home / "scanners" / folder.name).symlink_to(folder)
        monkeypatch.setattr(toolbox.env, "HOME", home)
        monkeypatch.setenv("PATH", f"{home / 'bin'}:/usr/bin:/bin")  # a system's programs, and no other

    return link
