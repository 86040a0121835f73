from django.utils.html import format_html
from django.utils.safestring import mark_safe


def bad(name):
    return mark_safe("<b>" + name + "</b>")  # found


def good(name):
    mark_safe("<hr>")
    return format_html("<b>{}</b>", name)
