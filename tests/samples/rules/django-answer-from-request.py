from django.http import HttpResponse
from django.shortcuts import render


def bad(request):
    if "q" in request.GET:
        return HttpResponse(f"Nothing found for {request.GET['q']}")  # found
    return HttpResponse(request.GET.get("name"))  # found


def good(request):
    if "q" in request.GET:
        return HttpResponse("Nothing found")
    return render(request, "found.html", {"q": request.GET["q"]})
