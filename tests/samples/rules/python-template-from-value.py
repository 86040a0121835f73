from flask import render_template_string, request
from jinja2 import Template


def bad(name):
    Template("Dear " + name)  # found
    return render_template_string(f"Dear {request.args['name']}")  # found


def good(name):
    Template("Dear {{ name }}").render(name=name)
    return render_template_string("Dear {{ name }}", name=name)
