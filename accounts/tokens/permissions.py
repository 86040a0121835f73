from accounts.tokens.models import Token
from opssight.kernel.access import register

register("tokens", Token, ["read", "create", "revoke"], own="user")
