from django.db import migrations


def name_undone(apps, schema_editor):
    """Runs of imports that were taken back before there was a state for it."""
    imports = apps.get_model("imports", "Import").objects.exclude(undone_at=None)
    scans = apps.get_model("scanning", "Scan").objects
    scans.filter(imports__in=imports, state="failed").update(state="undone")


class Migration(migrations.Migration):
    dependencies = [
        ("imports", "0002_change_detail"),
        ("scanning", "0011_log_batch_undone"),
    ]

    operations = [migrations.RunPython(name_undone, migrations.RunPython.noop)]
