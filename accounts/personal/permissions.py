from accounts.personal.models import Collection, PersonalDetails
from opssight.kernel.access import register

register("personal-details", PersonalDetails, ["read", "reveal"])
register("collections", Collection, ["read", "create", "update"])
