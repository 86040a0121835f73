from accounts.mfa.models import TOTPDevice
from opssight.kernel.access import register

register("mfa", TOTPDevice, ["read"])
