from accounts.devices.models import Device
from opssight.kernel.access import register

register("devices", Device, ["read", "create", "revoke"], own="user")
register("managed-devices", Device, ["read", "revoke"])  # everybody's, for officers
