"""The first schema; ``models`` tells what each column means."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='LogEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('oaio_id', models.TextField(db_index=True)),
                ('action', models.CharField(max_length=10)),
                ('stamp', models.CharField(max_length=20)),
                ('replaced_stamp', models.CharField(blank=True, max_length=20)),
                ('values_text', models.TextField()),
                ('csh_id', models.TextField(blank=True)),
                ('username', models.TextField(db_index=True)),
                ('device_id', models.TextField(blank=True)),
                ('app_id', models.TextField(blank=True)),
                ('received', models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name='StorageAccount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('email', models.TextField(unique=True)),
                ('password_hash', models.TextField()),
                ('directory', models.CharField(max_length=36, unique=True)),
                ('quota', models.BigIntegerField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='OaioObject',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('oaio_id', models.TextField(unique=True)),
                ('stamp', models.CharField(max_length=20)),
                ('values_text', models.TextField()),
                ('csh_id', models.TextField(blank=True)),
                ('username', models.TextField()),
                ('device_id', models.TextField(blank=True)),
                ('app_id', models.TextField(blank=True)),
                ('creator', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='created_objects', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='StorageHost',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('csh_id', models.CharField(max_length=200)),
                ('root_folder', models.TextField(blank=True)),
                ('email', models.TextField()),
                ('password', models.TextField()),
                ('base_url', models.TextField(blank=True)),
                ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='storage_hosts', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('csh_id', 'user'), name='one_host_per_user'), models.UniqueConstraint(condition=models.Q(('user', None)), fields=('csh_id',), name='one_host_for_all')],
            },
        ),
        migrations.CreateModel(
            name='StoredFile',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('path', models.TextField()),
                ('inode', models.CharField(max_length=20)),
                ('size', models.BigIntegerField()),
                ('mtime_ns', models.BigIntegerField()),
                ('md5', models.CharField(max_length=32)),
                ('modified', models.BigIntegerField()),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='files', to='oaio.storageaccount')),
            ],
            options={
                'indexes': [models.Index(fields=['account', 'size'], name='sizes_by_account')],
                'constraints': [models.UniqueConstraint(fields=('account', 'path'), name='one_row_per_file')],
            },
        ),
        migrations.CreateModel(
            name='Subscription',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('right', models.CharField(max_length=1)),
                ('oaio', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='subscriptions', to='oaio.oaioobject')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='subscriptions', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('oaio', 'user'), name='one_right_per_user')],
            },
        ),
    ]
