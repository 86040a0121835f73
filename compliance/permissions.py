from compliance.models import Control, Framework, Result
from opssight.kernel.access import register

# Controls speak for the whole organisation, so only an assignment at the root reaches them.
register("frameworks", Framework, ["read"])
register("controls", Control, ["read", "evaluate"])
register("results", Result, ["read"])
