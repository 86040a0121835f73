from accounts.notify.models import Notice
from opssight.kernel.access import register

register("notices", Notice, ["read"])
