from django.views.decorators.csrf import csrf_exempt, csrf_protect


@csrf_exempt  # found
def bad(request):
    return request


@csrf_protect
def good(request):
    return request
