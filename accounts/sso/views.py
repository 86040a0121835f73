"""The way to a provider and back, links of one's own account, and the way out."""

import secrets
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import pending
from accounts.mfa import proof
from accounts.models import User
from accounts.services import end_session
from accounts.sso import endings, events, factors, remote, services, walk
from accounts.sso.models import Identity, Provider, ProviderLogin
from accounts.sso.remote import SignInRefused
from accounts.sso.walk import LINK, STEP_UP, Proven
from accounts.step_up import require_step_up_here
from accounts.strength import is_enough
from opssight.kernel.access import factor_needed
from opssight.kernel.crypto import Undecryptable
from opssight.kernel.guards import guarded, is_signed_in, public

WAITING = "sso_link"  # in the session: whom the provider proved, until the owner of the account says yes
FAREWELL = "sso_farewell"


def _provider(slug: str) -> Provider:
    return get_object_or_404(Provider, slug=slug, is_enabled=True)


def _refused(request: HttpRequest, provider: Provider, refusal: SignInRefused) -> HttpResponse:
    """One page, whatever was wrong: the reason stands in the trail, under the number of the request."""
    events.REFUSED.emit(target=provider, success=False, error=str(refusal), provider=provider.slug)
    return render(request, "sso/refused.html", {"provider": provider}, status=400)


@public("the way to a provider; it holds nothing that is ours")
@require_GET
def sign_in_with(request: HttpRequest, slug: str) -> HttpResponse:
    """A link and no form: our policy for content lets forms lead to ourselves only."""
    provider = _provider(slug)
    if is_signed_in(request.user):
        return redirect("overview")
    if not walk.may_begin(request):
        return render(request, "sso/refused.html", {"provider": provider, "too_many": True}, status=429)
    try:
        return redirect(walk.begin(request, provider, next_page=request.GET.get("next", "")))
    except SignInRefused as refusal:
        return _refused(request, provider, refusal)


@public("the way back: what it brings is checked against what was begun in this browser")
@require_GET
def back(request: HttpRequest, slug: str) -> HttpResponse:
    provider = _provider(slug)
    try:
        proven = walk.come_back(request, provider)
        if proven.purpose == LINK:
            return _ask_to_link(request, proven)
        if proven.purpose == STEP_UP:
            return _stepped_up(request, proven)
        if is_signed_in(request.user):
            return redirect("overview")
        return _let_in(request, proven, services.whose(proven))
    except SignInRefused as refusal:
        return _refused(request, provider, refusal)


def _let_in(request: HttpRequest, proven: Proven, identity: Identity) -> HttpResponse:
    """Straight in where the provider's own second factor counts and is strong enough, else by ours."""
    user = identity.user
    kept = {"identity": identity.pk, "sid": proven.sid, "id_token": proven.id_token}
    pending.remember(request, user, proven.next_page, via=kept)
    if proven.factor_counts and is_enough(identity.level, factor_needed(user).level):
        return proof.let_in(request, user, identity)
    return redirect("second-step")


# --- the second factor again --------------------------------------------------------------------------------------


@guarded("me:update")
@require_GET
def step_up_with(request: HttpRequest, slug: str) -> HttpResponse:
    provider = _provider(slug)
    begun = factors.offered(request)
    if begun is None or begun.identity.provider != provider:
        raise Http404
    try:
        return redirect(walk.begin(request, provider, purpose=STEP_UP, next_page=request.GET.get("next", "")))
    except SignInRefused as refusal:
        return _refused(request, provider, refusal)


def _stepped_up(request: HttpRequest, proven: Proven) -> HttpResponse:
    """By nobody but whom the provider signed in here; the session goes on, and can be ended by its newer name too."""
    begun = factors.offered(request) if is_signed_in(request.user) else None
    if begun is None:
        raise SignInRefused("the session that was to step up is over, or not this provider's")
    if services.known(proven) != begun.identity:
        raise SignInRefused("somebody else signed in over there")
    if not proven.factor_counts:
        raise SignInRefused("the provider says of no second factor")
    try:
        proof.step_up(request, begun.identity)
    except proof.TooWeak as refusal:
        raise SignInRefused(refusal.detail) from None
    begun.sid, begun.id_token = proven.sid or begun.sid, proven.id_token
    begun.save(update_fields=["sid", "id_token_encrypted"])
    return redirect(pending.safe_page(request, proven.next_page))


# --- links of one's own account -----------------------------------------------------------------------------------


@guarded("me:update")
@require_GET
def link(request: HttpRequest, slug: str) -> HttpResponse:
    require_step_up_here(request)
    provider = _provider(slug)
    try:
        return redirect(walk.begin(request, provider, purpose=LINK))
    except SignInRefused as refusal:
        return _refused(request, provider, refusal)


def _ask_to_link(request: HttpRequest, proven: Proven) -> HttpResponse:
    """Who is signed in over there need not be who sits here: a stranger could have signed this browser in."""
    if not is_signed_in(request.user):
        raise SignInRefused("whoever wanted to link it is not signed in any more")
    if services.known(proven) is not None:
        raise SignInRefused("the account or the person is linked already")
    request.session[WAITING] = {
        "user": request.user.pk,
        "provider": proven.provider.pk,
        "subject": proven.subject,
        "claims": proven.claims,
        "shown": proven.email or proven.name or proven.subject,
    }
    return redirect("confirm-link")


@guarded("me:update")
@require_http_methods(["GET", "POST"])
def confirm_link(request: HttpRequest) -> HttpResponse:
    require_step_up_here(request)
    kept: dict[str, Any] = request.session.get(WAITING) or {}
    provider = Provider.objects.filter(pk=kept.get("provider", 0), is_enabled=True).first()
    user = request.user
    assert isinstance(user, User)
    if provider is None or kept["user"] != user.pk:
        return redirect("my-security")
    if request.method == "POST":
        del request.session[WAITING]
        try:
            services.link(user, Proven(provider, kept["subject"], kept["claims"]), how="owner")
        except SignInRefused as refusal:
            return _refused(request, provider, refusal)
        messages.success(request, f"{provider.name} is linked: it signs you in from now on.")
        return redirect("my-security")
    return render(request, "sso/link.html", {"provider": provider, "shown": kept["shown"]})


@guarded("me:update")
@require_POST
def unlink(request: HttpRequest, uid: UUID) -> HttpResponse:
    require_step_up_here(request)
    identity = get_object_or_404(Identity.objects.select_related("user", "provider"), uid=uid, user=request.user.pk)
    services.unlink(identity)
    messages.success(request, f"{identity.provider.name} is unlinked.")
    return redirect("my-security")


# --- the way out --------------------------------------------------------------------------------------------------


@public("ends the session; there is nothing to protect")
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Where a provider began the session, the next page offers to sign out there as well."""
    farewell = _farewell(request)
    end_session(request)
    if farewell is None:
        return redirect("sign-in")
    request.session[FAREWELL] = farewell
    return redirect("signed-out")


def _farewell(request: HttpRequest) -> dict[str, str] | None:
    login = getattr(request, "login", None)
    begun = ProviderLogin.objects.filter(login=login).select_related("identity__provider").first() if login else None
    if begun is None or not begun.id_token_encrypted or not begun.identity.provider.logs_out_there:
        return None
    provider = begun.identity.provider
    try:
        there, hint = remote.metadata(provider).get("end_session_endpoint"), begun.id_token
    except (SignInRefused, Undecryptable):
        return None  # whoever wants to go is not held up
    if not there:
        return None
    state = secrets.token_urlsafe(16)
    asked = {
        "id_token_hint": hint,
        "client_id": provider.client_id,
        "post_logout_redirect_uri": f"{settings.BASE_URL}/signed-out",
        "state": state,
    }
    joint = "&" if "?" in there else "?"
    return {"name": provider.name, "address": f"{there}{joint}{urlencode(asked)}", "state": state}


@public("says good-bye")
@require_GET
def signed_out(request: HttpRequest) -> HttpResponse:
    """Also where the provider leads to after it signed somebody out."""
    farewell = request.session.get(FAREWELL) or {}
    is_done = bool(farewell) and request.GET.get("state") == farewell["state"]
    if is_done:
        del request.session[FAREWELL]
    return render(request, "sso/signed_out.html", {"farewell": farewell, "is_done": is_done})


@csrf_exempt
@public("a provider's word: the token is signed by it")
@sensitive_post_parameters("logout_token")
@require_POST
def logout_by_provider(request: HttpRequest, slug: str) -> HttpResponse:
    """OpenID Connect Back-Channel Logout: 200, or 400 for whatever is no proper token of this provider's."""
    provider = _provider(slug)
    if not provider.is_oidc:
        raise Http404
    try:
        endings.log_out(provider, request.POST.get("logout_token"))
    except SignInRefused as refusal:
        events.LOGOUT_REFUSED.emit(target=provider, success=False, error=str(refusal), provider=provider.slug)
        return JsonResponse({"error": "invalid_request"}, status=400)
    return HttpResponse(status=200)
