"""The settings of every run that is not a test."""

from opssight.settings.base import *  # noqa: F403  (the settings module is this list of names)
