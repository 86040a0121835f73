"""Everything both profiles share. Values from outside come through `env` only."""

import ssl
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from celery.schedules import crontab
from csp.constants import NONE, SELF

from opssight.settings import env

BASE_DIR: Path = env.BASE_DIR
HOME: Path = env.HOME
EMBEDDED: bool = env.EMBEDDED
BASE_URL: str = env.URL
_url = urlsplit(BASE_URL)
HTTPS = _url.scheme == "https"

SECRET_KEY = env.secret("OPSSIGHT_SECRET_KEY")
FIELD_KEYS = env.field_keys("OPSSIGHT_FIELD_KEYS")  # newest first; older ones still decrypt
HASH_KEY = env.secret("OPSSIGHT_HASH_KEY")  # recovery codes and links are stored as keyed hashes
TRAIL_KEY = env.secret("OPSSIGHT_TRAIL_KEY")  # the MAC of every trail entry
TRAIL_SIGNING_KEY = env.seed("OPSSIGHT_TRAIL_SIGNING_KEY")  # signs the checkpoints of the sealed trail

DEBUG = False
ALLOWED_HOSTS = env.listed("OPSSIGHT_ALLOWED_HOSTS", [_url.hostname or "localhost", *([] if HTTPS else env.LOOPBACK)])
CSRF_TRUSTED_ORIGINS = [BASE_URL]
TRUSTED_PROXIES = env.networks("OPSSIGHT_TRUSTED_PROXIES")
OUTGOING_ALLOW = env.outside("OPSSIGHT_OUTGOING_ALLOW")

INSTALLED_APPS = [
    "opssight.apps.OpsSightConfig",
    "opssight.console.apps.ConsoleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_otp",
    "django_otp_webauthn",
    "axes",
    "guardian",
    "auditlog",
    "csp",
    "django_htmx",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "accounts.apps.AccountsConfig",
    "accounts.mfa.apps.MfaConfig",
    "accounts.logins.apps.LoginsConfig",
    "accounts.notify.apps.NotifyConfig",
    "accounts.personal.apps.PersonalConfig",
    "accounts.devices.apps.DevicesConfig",
    "accounts.tokens.apps.TokensConfig",
    "accounts.sso.apps.SsoConfig",
    "rbac.apps.RbacConfig",
    "rbac.access.apps.AccessConfig",
    "audit.apps.AuditConfig",
    "audit.rollups.apps.RollupsConfig",
    "audit.sealing.apps.SealingConfig",
    "scanning.sla.apps.SlaConfig",
    "scanning.apps.ScanningConfig",
    "scanning.advisories.apps.AdvisoriesConfig",
    "scanning.imports.apps.ImportsConfig",
    "scanning.triage.apps.TriageConfig",
    "scanning.schedules.apps.SchedulesConfig",
    "scanning.tools.apps.ToolsConfig",
    "scanning.counts.apps.CountsConfig",
    "scanning.deadlines.apps.DeadlinesConfig",
    "compliance.apps.ComplianceConfig",
]

MIDDLEWARE = [
    "opssight.kernel.http.RequestMiddleware",  # request id, client address; outermost, so that every answer has them
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "opssight.kernel.logs.RequestLogMiddleware",  # below the static files: nobody reads a log of stylesheets
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "opssight.kernel.actor.ActorMiddleware",
    "opssight.kernel.reads.ReadsMiddleware",
    "accounts.middleware.LoginMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
    "opssight.console.views.errors.RefusalMiddleware",
]

ROOT_URLCONF = "opssight.urls"
WSGI_APPLICATION = "opssight.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "opssight.console.navigation.shell",
            ],
            "builtins": ["opssight.console.templatetags.console", "opssight.console.templatetags.controls"],
        },
    },
]

# --- data -------------------------------------------------------------------------------------------------------

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": HOME / "opssight.sqlite3",
        "CONN_MAX_AGE": 60,  # reconnecting reruns every PRAGMA: it doubles the cost of a request
        "OPTIONS": {
            # Without IMMEDIATE, a read that turns into a write fails with "database is locked" whatever the time-out.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": (
                "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA foreign_keys=ON;PRAGMA temp_store=MEMORY;"
                "PRAGMA cache_size=-20000;PRAGMA journal_size_limit=27103364"
            ),
        },
    }
}
if not EMBEDDED:
    DATABASES["default"] = env.database(env.DATABASE_VARIABLE)
if sealer := env.sealer_database("OPSSIGHT_SEALER_DATABASE_URL"):
    DATABASES["sealer"] = sealer
TRAIL_DATABASE = "sealer" if "sealer" in DATABASES else "default"
MIGRATION_MODULES = {"auditlog": None}  # its own table is replaced by audit.AuditEntry

# --- people -----------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "accounts.backends.PasswordBackend"]
PASSWORD_HASHERS = ["accounts.hashers.Argon2id"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "accounts.mfa.passwords.Length"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "accounts.mfa.passwords.Strength"},
    {"NAME": "accounts.mfa.passwords.Known"},
]
LEAKED_PASSWORDS = env.readable("OPSSIGHT_LEAKED_PASSWORDS")
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "overview"
MFA_ISSUER = env.text("OPSSIGHT_MFA_ISSUER", "OpsSight Platform")
SETUP_LINK_VALID = timedelta(hours=24)
PASSWORD_RESET_VALID = timedelta(minutes=30)

# Without a gateway, the embedded profile writes messages to its own log; a server offers none.
SMS_GATEWAY = env.choice("OPSSIGHT_SMS_GATEWAY", ["off", "console", "twilio"], "console" if EMBEDDED else "off")
SMS_URL = env.text("OPSSIGHT_SMS_URL", "")
SMS_USER = env.text("OPSSIGHT_SMS_USER", "")
SMS_PASSWORD = env.confidential("OPSSIGHT_SMS_PASSWORD")
SMS_FROM = env.text("OPSSIGHT_SMS_FROM", "")
if SMS_GATEWAY == "twilio":
    env.required("OPSSIGHT_SMS_GATEWAY", OPSSIGHT_SMS_URL=SMS_URL, OPSSIGHT_SMS_FROM=SMS_FROM)
PHONE_REGION = env.text("OPSSIGHT_PHONE_REGION", "")  # of numbers written without a country code, such as DE

MAIL_IS_SET_UP = bool(_mail := env.mail("OPSSIGHT_SMTP_URL"))
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if _mail else 'console' if EMBEDDED else 'dummy'}.EmailBackend"
EMAIL_HOST, EMAIL_PORT = _mail.get("host", ""), _mail.get("port", 25)
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail.get("user", ""), _mail.get("password", "")
EMAIL_USE_SSL, EMAIL_USE_TLS = _mail.get("ssl", False), _mail.get("tls", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("OPSSIGHT_MAIL_FROM", f"OpsSight <opssight@{_url.hostname}>")
MESSAGE_CODES = [
    *(["sms"] if SMS_GATEWAY != "off" else []),
    *(["email"] if MAIL_IS_SET_UP or EMBEDDED else []),
]

# Passkeys are bound to the host people use: a copied page elsewhere can ask for none.
OTP_WEBAUTHN_RP_ID = _url.hostname
OTP_WEBAUTHN_RP_NAME = MFA_ISSUER
OTP_WEBAUTHN_ALLOWED_ORIGINS = [BASE_URL]
OTP_WEBAUTHN_CREDENTIAL_MODEL = "mfa.Passkey"
OTP_WEBAUTHN_HELPER_CLASS = "accounts.mfa.passkeys.Ceremony"

AXES_FAILURE_LIMIT = env.integer("OPSSIGHT_LOGIN_FAILURE_LIMIT", 5, low=1, high=100)
AXES_COOLOFF_TIME = timedelta(minutes=env.integer("OPSSIGHT_LOGIN_COOLOFF_MINUTES", 15, low=1, high=24 * 60))
LOGIN_ADDRESS_LIMIT = env.integer("OPSSIGHT_LOGIN_ADDRESS_LIMIT", 100, low=1)  # under whatever names
# The pair, so that a stranger's guesses never lock the owner out at the owner's own address.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_USERNAME_FORM_FIELD = "username"  # else it asks for what the model calls it, and finds no name but in our form
# It keeps the fields of the form that failed: none of them may be a secret.
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "old", "password", "again", "code", "credential"]
AXES_USERNAME_CALLABLE = "accounts.services.axes_username"
AXES_CLIENT_IP_CALLABLE = "opssight.kernel.http.client_address"
AXES_LOCKOUT_CALLABLE = "accounts.views.locked_out"
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # a stranger who goes on guessing can't extend the lock
AXES_DISABLE_ACCESS_LOG = True  # the trail has it
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

ANONYMOUS_USER_NAME = None
GUARDIAN_MONKEY_PATCH_USER = GUARDIAN_MONKEY_PATCH_GROUP = False

# --- access and trail -------------------------------------------------------------------------------------------

OPSSIGHT_DECIDER = "rbac.decide"
TRAIL_ORIGIN = env.origin("OPSSIGHT_TRAIL_ORIGIN", f"{_url.hostname}/trail")
TRAIL_OLD_KEYS = env.public_keys("OPSSIGHT_TRAIL_OLD_KEYS")
ANCHOR_FILE = env.text("OPSSIGHT_ANCHOR_FILE", "")
ANCHOR_URL = env.webhook("OPSSIGHT_ANCHOR_URL")
ANCHOR_SECRET = env.secret("OPSSIGHT_ANCHOR_SECRET") if ANCHOR_URL else ""
ANCHOR_MAIL = env.mailbox("OPSSIGHT_ANCHOR_MAIL", server=MAIL_IS_SET_UP)
AUDITLOG_LOGENTRY_MODEL = "audit.AuditEntry"
AUDITLOG_STORE_JSON_CHANGES = True
AUDITLOG_DISABLE_ON_RAW_SAVE = False

# --- jobs -------------------------------------------------------------------------------------------------------

CELERY_BROKER_URL = env.BROKER_URL or "filesystem://localhost"
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {}
_broker = urlsplit(CELERY_BROKER_URL)
if _broker.scheme == "filesystem":
    _queue = str(HOME / "queue")
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": _queue,
        "data_folder_out": _queue,
        "control_folder": str(HOME / "queue" / "control"),
        "polling_interval": 0.1,
    }
elif _broker.scheme in ("redis", "rediss"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        # Messages of a dead worker go back when their hour is over, and not up to 100 s later.
        "unacked_restore_throttle": 1,
        # A server that vanished without closing its connections is noticed; a request must not wait for it for ever.
        "socket_connect_timeout": 5,
        "socket_timeout": 10,
        "socket_keepalive": True,
    }
else:
    CELERY_TASK_DEFAULT_QUEUE_TYPE = CELERY_TASK_CREATE_MISSING_QUEUE_TYPE = "quorum"  # they outlive a lost node
    CELERY_WORKER_DETECT_QUORUM_QUEUES = True  # quorum queues know no global prefetch
    # A task that is to run later waits in the broker; with direct exchanges it would block the worker that took it.
    CELERY_TASK_DEFAULT_EXCHANGE_TYPE = CELERY_TASK_CREATE_MISSING_QUEUE_EXCHANGE_TYPE = "topic"
# Left to themselves, kombu checks no certificate of Redis, and no host name of RabbitMQ.
if _broker.scheme == "rediss":
    CELERY_BROKER_USE_SSL: dict[str, Any] = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
elif _broker.scheme == "amqps":
    CELERY_BROKER_USE_SSL = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": _broker.hostname}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {
    "scanning.tasks.run_scan": {"queue": "scans"},
    "scanning.tools.tasks.install": {"queue": "scans"},  # where the tools are to run
    "audit.sealing.tasks.seal_trail": {"queue": "seal"},
}
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    # Where no worker takes them they go bad, rather than pile up.
    "seal-trail": {"task": "audit.sealing.tasks.seal_trail", "schedule": 5.0, "options": {"expires": 30}},
    "verify-new-trail-entries": {"task": "audit.sealing.tasks.verify_new", "schedule": 300.0},
    "verify-trail": {"task": "audit.sealing.tasks.verify_all", "schedule": crontab(hour=3, minute=20)},
    "requeue-overdue-jobs": {"task": "opssight.tasks.requeue_overdue_jobs", "schedule": 30.0},
    "purge-idempotency-records": {"task": "opssight.tasks.purge_idempotency_records", "schedule": 3600.0},
    "purge-sessions": {"task": "accounts.logins.tasks.purge_sessions", "schedule": 3600.0},
    "purge-notices": {"task": "accounts.notify.tasks.purge_notices", "schedule": 3600.0},
    "purge-sign-in-attempts": {"task": "accounts.sso.tasks.purge_attempts", "schedule": 3600.0},
    "purge-access-traces": {"task": "rbac.access.tasks.purge_traces", "schedule": 3600.0},
    "tell-of-ending-tokens": {"task": "accounts.tokens.tasks.tell_of_ending_tokens", "schedule": 3600.0},
    "enrich-findings": {"task": "scanning.advisories.tasks.enrich_findings", "schedule": 3600.0},
    "fold-finding-counts": {"task": "scanning.counts.tasks.fold_counts", "schedule": 300.0},
    "run-due-schedules": {"task": "scanning.schedules.tasks.run_due", "schedule": 60.0},
    # A run that comes late notes the same as the one that was left out.
    "warn-of-deadlines": {
        "task": "scanning.deadlines.tasks.warn_of_deadlines",
        "schedule": 300.0,
        "options": {"expires": 300},
    },
    "wake-accepted-findings": {"task": "scanning.triage.tasks.wake_accepted", "schedule": 300.0},
    # At the full hour rather than an hour after the start, so that restarts don't put it off.
    "evaluate-controls": {"task": "compliance.tasks.evaluate_controls", "schedule": crontab(minute=0)},
}
if not EMBEDDED:  # SQLite has no second writer to look out for
    CELERY_BEAT_SCHEDULE["tell-unattributed-changes"] = {
        "task": "audit.tasks.tell_unattributed_changes",
        "schedule": 60.0,
    }

# --- JWT --------------------------------------------------------------------------------------------------------

JWT_ALGORITHM = env.choice("OPSSIGHT_JWT_ALGORITHM", ["EdDSA", "RS256", "HS256"], "EdDSA")
JWT_REFRESH_LIFETIME = timedelta(days=7)
SIMPLE_JWT = {  # keys, audience and issuer: accounts.tokens.signed
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=30),
    "REFRESH_TOKEN_LIFETIME": JWT_REFRESH_LIFETIME,
    "TOKEN_TYPE_CLAIM": "type",
}

# --- API --------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.tokens.authentication.TokenAuthentication",
        "opssight.kernel.guards.VerifiedSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["opssight.kernel.guards.StatedPermission"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["opssight.kernel.rest.parsers.StrictJSONParser"],
    "DEFAULT_THROTTLE_CLASSES": ["opssight.kernel.rest.throttling.RequestRate"],
    "DEFAULT_SCHEMA_CLASS": "opssight.kernel.rest.schema.Schema",
    "DEFAULT_PAGINATION_CLASS": "opssight.kernel.pagination.KeysetPagination",
    "EXCEPTION_HANDLER": "opssight.kernel.rest.problems.problem_response",
    "URL_FORMAT_OVERRIDE": None,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.0",
    "TITLE": "OpsSight",
    "DESCRIPTION": "The API of OpsSight. Sign in by session or by `Authorization: Bearer` with an API token or JWT.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_PUBLIC": True,
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": False,
    "ENUM_NAME_OVERRIDES": {
        "ScanState": "scanning.models.ScanState",
        "FindingStatus": "scanning.models.Status",
        "AccountKind": "accounts.models.User.Kind",
        "AssetKind": "scanning.models.Asset.Kind",
        "ScheduleEvery": "scanning.schedules.models.Every",
        "Weekday": "scanning.schedules.models.Weekday",
        "DevicePlatform": "accounts.devices.models.Device.Platform",
        "PolicyEffect": "rbac.access.models.Policy.Effect",
        "AccessOutcome": "rbac.access.models.AccessTrace.Outcome",
        "ControlState": "compliance.models.State",
        "ControlKind": "compliance.models.Control.Kind",
        "BulkActionKind": "scanning.triage.models.BulkAction.Kind",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "opssight.kernel.rest.schema.add_problems",
    ],
}
IDEMPOTENCY_MODEL = "opssight.IdempotencyRecord"
API_REQUESTS_PER_MINUTE = env.integer("OPSSIGHT_API_REQUESTS_PER_MINUTE", 600, low=1)
API_REQUESTS_PER_MINUTE_ANONYMOUS = env.integer("OPSSIGHT_API_REQUESTS_PER_MINUTE_ANONYMOUS", 100, low=1)

# --- browser ----------------------------------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz)$"]  # asked on loopback, behind whatever speaks TLS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = False
SILENCED_SYSTEM_CHECKS = [
    "guardian.W001",  # asks for guardian's backend, which ignores expiry; rbac.decide reads its tables instead
    "security.W021",  # preload binds every sibling host for years: the owner of the domain decides that, not we
]
SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "session"
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "csrf"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True
DEVICE_COOKIE_NAME = "__Host-device" if HTTPS else "device"
# NIST SP 800-63B-4 §2.2.3 for two factors: a day at most, and an hour without use.
SESSION_COOKIE_AGE = env.integer("OPSSIGHT_SESSION_HOURS", 12, low=1, high=24) * 3600
SESSION_IDLE = timedelta(minutes=env.integer("OPSSIGHT_SESSION_IDLE_MINUTES", 60, low=2, high=24 * 60))
CSRF_FAILURE_VIEW = "opssight.console.views.errors.csrf_failed"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "opssight" / "static"]
WHITENOISE_USE_FINDERS = True  # no collectstatic: nothing to run at every start
WHITENOISE_MAX_AGE = 300

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-gb"
USE_I18N = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576

# --- scanning ---------------------------------------------------------------------------------------------------

SCAN_TIMEOUT = timedelta(minutes=env.integer("OPSSIGHT_SCAN_TIMEOUT_MINUTES", 30, low=1, high=24 * 60))
SCAN_MEMORY = env.integer("OPSSIGHT_SCAN_MEMORY", 3072, low=256, high=1_048_576)  # megabytes, of each process
CHECKOUT_MAX = env.integer("OPSSIGHT_CHECKOUT_MAX", 2000, low=1, high=1_048_576)  # megabytes, of one asset
UPLOAD_MAX = env.integer("OPSSIGHT_UPLOAD_MAX", 500, low=1, high=1_048_576)  # megabytes, of one file
GIT_FOLDERS = env.listed("OPSSIGHT_GIT_FOLDERS", [])  # where repositories of file:// may lie
GIT_KNOWN_HOSTS = env.text("OPSSIGHT_GIT_KNOWN_HOSTS", "")  # a file in the format of ssh
IMAGE_PULLS = env.boolean("OPSSIGHT_IMAGE_PULLS", False)  # whether trivy may ask registries
SEMGREP_RULES = env.text("OPSSIGHT_SEMGREP_RULES", "")
SEMGREP_AUTO = env.boolean("OPSSIGHT_SEMGREP_AUTO", False)
SAFETY_DB = env.text("OPSSIGHT_SAFETY_DB", "")
TRIVY_CACHE = env.text("OPSSIGHT_TRIVY_CACHE", "")
OSV_DIR = env.text("OPSSIGHT_OSV_DIR", "")
OSV_URL = env.text("OPSSIGHT_OSV_URL", "")
# Vendors' programs come from these files, or from the vendors where that is allowed: scanning/scanners/vendors.py.
SCANNER_ARCHIVES = {
    "gitleaks": env.text("OPSSIGHT_GITLEAKS_ARCHIVE", ""),
    "trivy": env.text("OPSSIGHT_TRIVY_ARCHIVE", ""),
}
SCANNER_DOWNLOADS = env.boolean("OPSSIGHT_SCANNER_DOWNLOADS", False)
EPSS_FILE = env.text("OPSSIGHT_EPSS_FILE", "")
KEV_FILE = env.text("OPSSIGHT_KEV_FILE", "")

LOG_FORMAT = env.choice("OPSSIGHT_LOG_FORMAT", ["json", "human"], "human" if sys.stderr.isatty() else "json")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {"()": "opssight.kernel.logs.JsonFormatter"},
        "human": {"()": "opssight.kernel.logs.HumanFormatter"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "opssight": {"level": env.choice("OPSSIGHT_LOG_LEVEL", ["DEBUG", "INFO", "WARNING", "ERROR"], "INFO")},
        # Receipts are for whatever collects the log; at a terminal they would drown what people read.
        **({"opssight.receipt": {"level": "WARNING"}} if LOG_FORMAT == "human" else {}),
    },
}
