"""How the states of a control are drawn: shape, colour and words, each for one state alone."""

from django import template

from compliance.models import Result

register = template.Library()

# kind of reading: (shape, colour, words)
DRAWN = {
    "pass": ("clean", "clean", "Met"),
    "fail": ("refused", "failed", "Not met"),
    "error": ("failed", "failed", "Test failed"),
    "unknown": ("unknown", "never", "Unknown"),
    "stale": ("stale", "stale", "Stale"),
    "never": ("never", "never", "Never evaluated"),
    "not_applicable": ("notappl", "never", "Not applicable"),
    "excepted": ("excepted", "stale", "Excepted"),
}


@register.inclusion_tag("compliance/state.html")
def control_state(kind: str, css: str = "st") -> dict[str, str]:
    shape, colour, words = DRAWN[kind]
    return {"shape_key": shape, "colour": colour, "words": words, "css": css}


@register.filter
def counted(result: Result | None) -> bool:
    """Whether its figures say something; those of an error or an unknown don't."""
    return result is not None and result.population > 0
