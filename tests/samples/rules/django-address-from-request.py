import requests


def bad(request):
    return requests.get(request.GET["url"], timeout=5)  # found


def good(request):
    return requests.get("https://rates.example/today", params={"day": request.GET["day"]}, timeout=5)
