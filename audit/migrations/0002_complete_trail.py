import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0001_initial'),
        ('contenttypes', '0002_remove_content_type_name'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='auditentry',
            name='entry_of_resource',
        ),
        migrations.RemoveField(
            model_name='auditpersonal',
            name='id',
        ),
        migrations.AddField(
            model_name='auditentry',
            name='impersonator',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='auditentry',
            name='session',
            field=models.CharField(blank=True, max_length=16),
        ),
        migrations.AddField(
            model_name='auditpersonal',
            name='address',
            field=models.CharField(max_length=45, null=True),
        ),
        migrations.AlterField(
            model_name='auditentry',
            name='content_type',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='contenttypes.contenttype'),
        ),
        migrations.AlterField(
            model_name='auditentry',
            name='schema_v',
            field=models.PositiveSmallIntegerField(default=2),
        ),
        migrations.AlterField(
            model_name='auditpersonal',
            name='entry',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='personal', serialize=False, to=settings.AUDITLOG_LOGENTRY_MODEL),
        ),
        migrations.AlterModelOptions(
            name='auditentry',
            options={'default_permissions': (), 'get_latest_by': 'timestamp', 'ordering': ['-timestamp', '-id'], 'verbose_name': 'trail entry', 'verbose_name_plural': 'trail entries'},
        ),
        migrations.AlterField(
            model_name='auditentry',
            name='actor',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AlterField(
            model_name='auditentry',
            name='event',
            field=models.CharField(blank=True, max_length=64),
        ),
        migrations.AlterField(
            model_name='auditentry',
            name='request_id',
            field=models.CharField(blank=True, max_length=64),
        ),
        migrations.AlterField(
            model_name='auditentry',
            name='timestamp',
            field=models.DateTimeField(default=django.utils.timezone.now),
        ),
        migrations.AddField(
            model_name='auditentry',
            name='compliance_tags',
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name='auditentry',
            name='tags_version',
            field=models.CharField(blank=True, max_length=8),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['timestamp', 'id'], name='entry_by_time'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['actor', 'timestamp', 'id'], name='entry_by_actor'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['event', 'timestamp', 'id'], name='entry_by_event'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['resource_type', 'resource_id', 'timestamp', 'id'], name='entry_of_resource'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['request_id', 'timestamp', 'id'], name='entry_of_request'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(condition=models.Q(('success', False)), fields=['timestamp', 'id'], name='entry_failed'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(condition=models.Q(('action', 2)), fields=['timestamp', 'id'], name='entry_deleted'),
        ),
        migrations.AddIndex(
            model_name='auditpersonal',
            index=models.Index(condition=models.Q(('address__isnull', False)), fields=['address', '-entry'], name='personal_by_address'),
        ),
    ]
