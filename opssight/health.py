from django.http import HttpRequest, HttpResponse

from opssight.kernel.guards import public


@public("whether the process answers; says nothing else")
def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")
