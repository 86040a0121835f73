from accounts.models import User
from opssight.kernel.access import register

register("users", User, ["read", "create", "update"], own="")
register("lockouts", User, ["read", "delete"])
register("me", None, ["read", "update"])
register("admin", None, ["enter"])
