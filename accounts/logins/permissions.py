from accounts.logins.models import Login
from opssight.kernel.access import register

register("sessions", Login, ["read", "revoke"], own="user")
register("logins", Login, ["read", "revoke"])  # everybody's, for officers
