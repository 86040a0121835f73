from django.shortcuts import redirect


def bad(request):
    return redirect(request.GET.get("next"))  # found


def good(request):
    return redirect("orders")
