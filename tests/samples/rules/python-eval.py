import ast


def bad(text):
    exec(text)  # found
    return eval(text)  # found


def good(text):
    eval("1 + 1")
    return ast.literal_eval(text)
