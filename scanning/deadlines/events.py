from opssight.kernel.events import register

OVERDUE = register("findings:overdue", severity="low")  # its deadline passed, and it was not fixed
