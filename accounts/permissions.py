from accounts.models import User
from opssight.kernel.access import register

register("users", User, ["read", "create", "update"], own="")
register("me", None, ["read", "update"])
register("admin", None, ["enter"])
