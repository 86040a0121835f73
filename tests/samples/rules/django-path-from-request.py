import os

FILES = {"terms": "terms.pdf"}


def bad(request):
    open(os.path.join("uploads", request.FILES["f"].name), "wb")  # found
    return open("docs/" + request.GET["name"])  # found


def good(request):
    name = FILES[request.GET["name"]]
    return open(os.path.join("docs", name))
