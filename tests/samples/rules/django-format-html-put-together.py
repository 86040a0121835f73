from django.utils.html import format_html


def bad(name):
    format_html("<b>{}</b>".format(name))  # found
    return format_html(f"<b>{name}</b>")  # found


def good(name):
    return format_html("<b>{}</b>", name)
