"""The built-in roles, as data. Written into the tables after every migration; see `services.sync_builtin_roles`."""

EMPLOYEE = {"me:read", "me:update", "tokens:read", "tokens:create", "tokens:revoke"}
DEVELOPER = EMPLOYEE | {"assets:read", "scans:read", "scans:create", "findings:read"}
ANALYST = DEVELOPER | {"findings:triage"}
AUDITOR = EMPLOYEE | {
    "assets:read",
    "scans:read",
    "findings:read",
    "trail:read",
    "users:read",
    "mfa:read",
    "units:read",
    "roles:read",
    "assignments:read",
}
OFFICER = ANALYST | AUDITOR | {"admin:enter", "assets:create", "assets:update"}
ADMINISTRATOR = AUDITOR | {
    "admin:enter",
    "users:create",
    "users:update",
    "units:create",
    "units:update",
    "assignments:create",
    "assignments:update",
    "assignments:delete",
}

BUILTIN = {
    "employee": ("Employee", "Own account and security page.", EMPLOYEE),
    "developer": ("Developer", "Scans and findings of a unit.", DEVELOPER),
    "analyst": ("Analyst", "Works the findings of a unit.", ANALYST),
    "auditor": ("Auditor", "Reads everything, changes nothing.", AUDITOR),
    "officer": ("Security officer", "Runs security: assets, scans, findings, configuration.", OFFICER),
    "administrator": ("Administrator", "Accounts, units and roles.", ADMINISTRATOR),
}
