"""The storage host of this server knows users and their rights.

The default account's password was handed out to all users, who so had everything: it ends. What is stored of objects
that were deleted before belongs to those who made them.
"""

from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import migrations, models
from django.db.models import Max

_DEFAULT_EMAIL = 'storage@oaiofs.localhost'


def fill_folded(apps: Any, schema_editor: Any) -> None:
    """Where ids differ by case only, the oldest has the folder; a control character is in no name of a file."""
    taken = set()
    OaioObject = apps.get_model('oaio', 'OaioObject')
    for key, oaio_id in OaioObject.objects.order_by('pk').values_list('pk', 'oaio_id'):
        folded = oaio_id.casefold()
        if folded in taken:
            folded = f'{folded}\x1f{key}'
        taken.add(folded)
        OaioObject.objects.filter(pk=key).update(folded=folded)


def remember_makers(apps: Any, schema_editor: Any) -> None:
    """The log names who registered what is deleted now; a wiped user's entries are not in it."""
    OaioObject, LogEntry = apps.get_model('oaio', 'OaioObject'), apps.get_model('oaio', 'LogEntry')
    Holding, User = apps.get_model('oaio', 'Holding'), apps.get_model('auth', 'User')
    taken = set(OaioObject.objects.values_list('folded', flat=True))
    users = dict(User.objects.values_list('username', 'pk'))
    newest = LogEntry.objects.filter(action='register').values('oaio_id').annotate(newest=Max('pk')).values('newest')
    entries = LogEntry.objects.filter(pk__in=newest).order_by('pk')
    for oaio_id, username in entries.values_list('oaio_id', 'username'):
        folded = oaio_id.casefold()
        if folded not in taken and username in users:
            taken.add(folded)
            Holding.objects.create(folded=folded, oaio_id=oaio_id, user_id=users[username], right='C')


def end_passwords(apps: Any, schema_editor: Any) -> None:
    """Passwords of accounts here are in clear nowhere any more; that of the default account is one that nobody has."""
    apps.get_model('oaio', 'StorageHost').objects.filter(base_url='').update(password='')
    account = apps.get_model('oaio', 'StorageAccount').objects.filter(email=_DEFAULT_EMAIL)
    account.update(password_hash=make_password(None))


class Migration(migrations.Migration):

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ('oaio', '0002_lineage'),
    ]

    operations = [
        migrations.AddField(
            model_name='oaioobject',
            name='folded',
            field=models.TextField(default=''),
            preserve_default=False,
        ),
        migrations.RunPython(fill_folded, migrations.RunPython.noop),
        migrations.AlterField(
            model_name='oaioobject',
            name='folded',
            field=models.TextField(unique=True),
        ),
        migrations.AddIndex(
            model_name='logentry',
            index=models.Index(fields=['oaio_id', 'stamp'], name='versions_by_stamp'),
        ),
        migrations.CreateModel(
            name='Holding',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('folded', models.TextField()),
                ('oaio_id', models.TextField()),
                ('right', models.CharField(max_length=1)),
                ('until', models.CharField(blank=True, default='', max_length=20)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='holdings', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('folded', 'user'), name='one_holding_per_user')],
            },
        ),
        migrations.RunPython(remember_makers, migrations.RunPython.noop),
        migrations.AlterField(
            model_name='storagehost',
            name='password',
            field=models.TextField(blank=True),
        ),
        migrations.RunPython(end_passwords, migrations.RunPython.noop),
    ]
