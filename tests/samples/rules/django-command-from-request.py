import subprocess


def bad(request):
    return subprocess.run(["convert", request.GET["file"]])  # found


def good(request):
    return subprocess.run(["convert", "logo.png"])
