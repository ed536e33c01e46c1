"""django-salesforce: Django's models over SOQL and REST. The argument selects the login."""

import datetime
import io
import sys
from decimal import Decimal

import django
from django.conf import settings

import org
from org import equal, holds, refused

LOGINS = {
    "password": "SalesforcePasswordAuth",
    "soap": "SimpleSfPasswordAuth",
    "credentials": "SalesforceClientCredentialsAuth",
    "refresh": "RefreshTokenAuth",
}

settings.configure(
    USE_TZ=True,
    INSTALLED_APPS=["salesforce"],
    DATABASE_ROUTERS=["salesforce.router.ModelRouter"],
    DATABASES={
        "default": {"ENGINE": "django.db.backends.dummy"},
        "salesforce": {
            "ENGINE": "salesforce.backend",
            "HOST": org.HTTPS,
            "CONSUMER_KEY": org.CLIENT_ID,
            "CONSUMER_SECRET": org.CLIENT_SECRET,
            "USER": org.USERNAME,
            "PASSWORD": org.PASSWORD + org.SECURITY_TOKEN,
            "REFRESH_TOKEN": org.REFRESH_TOKEN,
            "AUTH": f"salesforce.auth.{LOGINS[sys.argv[1]]}",
        }
    },
)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from salesforce import models  # noqa: E402
from salesforce.dbapi.exceptions import SalesforceError  # noqa: E402


class Account(models.Model):
    """A standard object with some of its own fields."""

    name = models.CharField(max_length=255)
    industry = models.CharField(max_length=40, null=True)
    revenue = models.DecimalField(max_digits=18, decimal_places=2, db_column="AnnualRevenue", null=True)
    employees = models.IntegerField(db_column="NumberOfEmployees", null=True)
    active = models.BooleanField(db_column="Active__c", default=False)
    opened = models.DateField(db_column="Opened__c", null=True)
    key = models.CharField(max_length=40, db_column="External_Id__c", null=True)
    last_modified_date = models.DateTimeField(db_column="LastModifiedDate", sf_read_only=models.READ_ONLY)

    class Meta(models.Model.Meta):
        db_table = "Account"
        app_label = "org"
        managed = False


class Contact(models.Model):
    """A standard object with a parent."""

    last_name = models.CharField(max_length=80)
    account = models.ForeignKey(Account, models.DO_NOTHING, db_column="AccountId", null=True)

    class Meta(models.Model.Meta):
        db_table = "Contact"
        app_label = "org"
        managed = False


def single_records():
    """Creates, reads, updates and deletes through a model."""
    acme = Account(name="O'Hara & \"Söhne\"", revenue=Decimal("1234.50"), employees=7, active=True, key="dj-1")
    acme.opened = datetime.date(2026, 5, 1)
    acme.save()
    read = Account.objects.get(pk=acme.pk)
    equal((read.name, read.revenue, read.employees), (acme.name, Decimal("1234.5"), 7), "text and numbers")
    equal((read.active, read.opened, read.industry), (True, acme.opened, None), "boolean, date, null")
    read.industry, read.revenue = "Media", None
    read.save()
    equal(Account.objects.filter(key="dj-1").update(employees=8), 1, "rows of an update by a filter")
    read.refresh_from_db()
    equal((read.industry, read.revenue, read.employees), ("Media", None, 8), "after both updates")
    twin = Account(name="Twin", key="dj-1")
    error = refused(SalesforceError, twin.save, "an external id twice")
    holds("DUPLICATE_VALUE" in str(error), f"the code is in the text: {error}")
    return read


def queries(acme):
    """Reads by lookups, joins, order, slices, counts and pages."""
    Contact.objects.bulk_create([Contact(last_name=f"Ito {n}", account=acme) for n in range(3)])
    names = Contact.objects.filter(account__key="dj-1", last_name__startswith="Ito")
    equal([one.last_name for one in names.order_by("-last_name")[:2]], ["Ito 2", "Ito 1"], "join, order, limit")
    equal(names.exclude(last_name__in=["Ito 0", "Ito 1"]).count(), 1, "exclude and count")
    pair = names.select_related("account").order_by("last_name").first()
    equal(pair.account.name, acme.name, "a parent in the same query")
    recent = Account.objects.filter(last_modified_date__gte=acme.last_modified_date, active=True)
    equal([one.pk for one in recent], [acme.pk], "by a time and a boolean")
    equal(list(Account.objects.filter(revenue__isnull=True, key="dj-1").values_list("pk")), [(acme.pk,)], "is null")
    inner = Account.objects.filter(key="dj-1")
    equal(Contact.objects.filter(account__in=inner).count(), 3, "a semi-join")
    equal(len(Account.objects.filter(name__startswith="Account ")), 4_099, "all pages")
    with connections["salesforce"].cursor() as cursor:
        cursor.execute("SELECT COUNT(Id) FROM Contact WHERE AccountId = %s", [acme.pk])
        equal(cursor.fetchone(), (3,), "an aggregate in raw SOQL")
    holds(not connections["salesforce"].is_sandbox, "the org is not a sandbox")


def deletes(acme):
    """Deletes one record, then those of a filter."""
    Contact.objects.filter(last_name="Ito 0").delete()
    equal(Contact.objects.count(), 2, "what a filter left")
    acme.delete()
    equal(Contact.objects.count(), 0, "contacts are deleted with their account")


def describes():
    """Generates models from describe."""
    out = io.StringIO()
    call_command("inspectdb", "Account", "Contact", database="salesforce", stdout=out)
    text = out.getvalue()
    for line in ("class Account(models.Model):", "account = models.ForeignKey(Account", "db_table = 'Contact'"):
        holds(line in text, f"inspectdb writes {line!r}: {text[:2000]}")


if sys.argv[1] == "password":
    the_account = single_records()
    queries(the_account)
    describes()
    deletes(the_account)
else:
    equal(Account.objects.filter(name="Account 0000").count(), 1, "a query after a login")
