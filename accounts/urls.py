from django.urls import path

from accounts import views
from accounts.devices import views as devices
from accounts.logins import views as logins
from accounts.mfa import views as mfa
from accounts.notify import views as notices
from accounts.personal import views as personal
from accounts.sso import views as sso
from accounts.tokens import views as tokens

urlpatterns = [
    path("sign-in", views.sign_in, name="sign-in"),
    path("sign-in/second-step", mfa.second_step, name="second-step"),
    path("sign-in/enrol", mfa.enrol, name="enrol"),
    path("sign-in/enrol/passkey", mfa.enrol_passkey, name="enrol-passkey"),
    path("sign-in/enrol/message/<str:channel>", mfa.enrol_message, name="enrol-message"),
    path("sign-in/passkey", mfa.sign_in_by_passkey, name="sign-in-by-passkey"),
    path("sign-in/passkey/options/<str:use>", mfa.passkey_options, name="passkey-options"),
    path("sign-in/message/<str:channel>", mfa.send_message, name="send-message"),
    path("sign-in/forgotten", views.forgotten, name="forgotten"),
    path("sign-in/with/<slug:slug>", sso.sign_in_with, name="sign-in-with"),
    path("sign-in/with/<slug:slug>/back", sso.back, name="sign-in-back"),
    path("sign-in/with/<slug:slug>/logout", sso.logout_by_provider, name="logout-by-provider"),
    path("sign-out", sso.sign_out, name="sign-out"),
    path("signed-out", sso.signed_out, name="signed-out"),
    path("set-up/<str:token>", views.set_up, name="set-up"),
    path("step-up", mfa.step_up, name="step-up"),
    path("step-up/with/<slug:slug>", sso.step_up_with, name="step-up-with"),
    path("not-me/<str:token>", logins.not_me_by_mail, name="not-me-by-mail"),
    path("my-security/not-me", logins.not_me, name="not-me"),
    path("my-security/sessions/others/end", logins.end_others, name="end-other-sessions"),
    path("my-security/sessions/<uuid:uid>/end", logins.end_session, name="end-session"),
    path("my-security/links/confirm", sso.confirm_link, name="confirm-link"),
    path("my-security/links/<slug:slug>/new", sso.link, name="link-provider"),
    path("my-security/links/<uuid:uid>/remove", sso.unlink, name="unlink-provider"),
    path("my-security/tokens/new", tokens.new, name="new-token"),
    path("my-security/tokens/<uuid:uid>/revoke", tokens.revoke, name="revoke-token"),
    path("my-security/notices/<str:kind>", notices.set_preference, name="set-notice-preference"),
    path("my-security/devices/<uuid:uid>/revoke", devices.revoke, name="revoke-device"),
    path("my-security/details", personal.change, name="own-details"),
    path("personal-details/<uuid:uid>/reveal", personal.reveal, name="reveal-personal"),
    path("my-security/recovery-codes", mfa.renew_codes, name="renew-codes"),
    path("my-security/password", views.change_password, name="change-password"),
    path("my-security/factors/<uuid:uid>/remove", mfa.remove_factor, name="remove-factor"),
    path("my-security/factors/<uuid:uid>/name", mfa.rename_passkey, name="rename-passkey"),
]
