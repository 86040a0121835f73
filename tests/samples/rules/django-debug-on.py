"""No settings: a flag of some other kind."""

DEBUG = True
