import jinja2


def bad():
    return jinja2.Environment(loader=jinja2.FileSystemLoader("pages"))  # found


def good():
    return jinja2.Environment(loader=jinja2.FileSystemLoader("pages"), autoescape=jinja2.select_autoescape())
