from audit.sealing.models import Checkpoint
from opssight.kernel.access import register

register("checkpoints", Checkpoint, ["read"])
