from django.urls import path

from accounts import views
from accounts.devices import views as devices
from accounts.logins import views as logins
from accounts.mfa import views as mfa
from accounts.notify import views as notices
from accounts.personal import views as personal
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
    path("sign-out", views.sign_out, name="sign-out"),
    path("set-up/<str:token>", views.set_up, name="set-up"),
    path("step-up", mfa.step_up, name="step-up"),
    path("not-me/<str:token>", logins.not_me_by_mail, name="not-me-by-mail"),
    path("my-security/not-me", logins.not_me, name="not-me"),
    path("my-security/sessions/others/end", logins.end_others, name="end-other-sessions"),
    path("my-security/sessions/<uuid:uid>/end", logins.end_session, name="end-session"),
    path("my-security/tokens/new", tokens.new, name="new-token"),
    path("my-security/tokens/<uuid:uid>/revoke", tokens.revoke, name="revoke-token"),
    path("my-security/notices/<str:kind>", notices.set_preference, name="set-notice-preference"),
    path("my-security/devices/<uuid:uid>/revoke", devices.revoke, name="revoke-device"),
    path("my-security/details", personal.change, name="own-details"),
    path("my-security/recovery-codes", mfa.renew_codes, name="renew-codes"),
    path("my-security/password", views.change_password, name="change-password"),
    path("my-security/factors/<uuid:uid>/remove", mfa.remove_factor, name="remove-factor"),
    path("my-security/factors/<uuid:uid>/name", mfa.rename_passkey, name="rename-passkey"),
]
