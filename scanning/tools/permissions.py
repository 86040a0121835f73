from opssight.kernel.access import register
from scanning.tools.models import Installation

# Tools serve every unit, so only an assignment at the root reaches them.
register("scanners", Installation, ["read", "install"])
