from accounts.mfa.models import FactorReset, MessageDevice, Passkey, TOTPDevice
from opssight.kernel.access import register

register("mfa", TOTPDevice, ["read"])
register("passkeys", Passkey, ["read"])
register("message-devices", MessageDevice, ["read"])
register("resets", FactorReset, ["read", "create", "approve"])
