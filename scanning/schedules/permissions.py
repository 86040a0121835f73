from opssight.kernel.access import register
from scanning.schedules.models import Schedule

register("schedules", Schedule, ["read", "create", "update", "delete"], unit="asset__unit", granted_on="asset")
