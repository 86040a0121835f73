from django.template import Context, Engine


def bad(values):
    Engine(autoescape=False)  # found
    return Context(values, autoescape=False)  # found


def good(values):
    Engine()
    return Context(values)
