from accounts.tokens.models import ServiceAccount, Token
from opssight.kernel.access import register

register("tokens", Token, ["read", "create", "revoke"], own="user")
register("credentials", Token, ["read", "revoke"])  # everybody's tokens, for officers
register("service-accounts", ServiceAccount, ["read", "create", "update"])
