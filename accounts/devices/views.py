from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from accounts.devices import services
from accounts.devices.models import Device
from opssight.kernel.guards import guarded


@guarded("devices:revoke")
@require_POST
def revoke(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One of one's own. Taking something away needs no second factor."""
    device = get_object_or_404(Device.objects.permitted(request.user, "devices:revoke").in_use(), uid=uid)
    services.revoke(device)
    messages.success(request, f"{device.name} is revoked.")
    return redirect("my-security")
