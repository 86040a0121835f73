from django.contrib.auth.models import Group

from opssight.kernel.access import register
from rbac.models import DenyRule, Role, RoleAssignment, Unit

register("units", Unit, ["read", "create", "update"], unit="")
register("roles", Role, ["read", "create", "update"])
register("assignments", RoleAssignment, ["read", "create", "update", "delete"], unit="unit")
register("denies", DenyRule, ["read", "create", "update", "delete"], unit="unit")
register("grants", None, ["read", "create", "delete"])
register("groups", Group, ["read", "create", "update", "delete"])
register("access", None, ["explain"])
