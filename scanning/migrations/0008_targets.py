from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('scanning', '0007_finding_owner'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='scan',
            index=models.Index(condition=models.Q(('state__in', ['queued', 'running'])), fields=['asset'], name='scan_unfinished'),
        ),
    ]
