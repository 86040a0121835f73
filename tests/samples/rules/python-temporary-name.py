import tempfile


def bad():
    return open(tempfile.mktemp(), "w")  # found


def good():
    return tempfile.NamedTemporaryFile("w")
