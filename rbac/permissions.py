from opssight.kernel.access import register
from rbac.models import Role, RoleAssignment, Unit

register("units", Unit, ["read", "create", "update"], unit="")
register("roles", Role, ["read"])
register("assignments", RoleAssignment, ["read", "create", "update", "delete"], unit="unit")
