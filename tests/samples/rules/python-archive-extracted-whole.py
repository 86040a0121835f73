import tarfile


def bad(path):
    with tarfile.open(path) as archive:
        archive.extractall("/srv/in")  # found


def good(path):
    with tarfile.open(path) as archive:
        archive.extractall("/srv/in", filter="data")
