from accounts.sso.models import ClaimRule, Identity, Provider
from opssight.kernel.access import register

register("providers", Provider, ["read", "create", "update", "delete"])
register("claim-rules", ClaimRule, ["read", "create", "update", "delete"])
register("identities", Identity, ["read", "update", "delete"])
