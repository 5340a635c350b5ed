"""Each version remembers which ones it was made from."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('oaio', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='oaioobject',
            name='lineage',
            field=models.TextField(blank=True, default=''),
        ),
        migrations.AddField(
            model_name='logentry',
            name='lineage',
            field=models.TextField(blank=True, default=''),
        ),
    ]
