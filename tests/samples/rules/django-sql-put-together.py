from django.db import connection

from shop.models import Order


def bad(name):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM shop WHERE name = '{name}'")  # found
        cursor.execute("SELECT * FROM shop WHERE name = '%s'" % name)  # found
    return Order.objects.raw("SELECT * FROM shop WHERE name = " + name)  # found


def good(name):
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM shop WHERE name = %s", [name])
    return Order.objects.raw("SELECT * FROM shop WHERE name = %s", [name])


TABLE = "orders"


def names(connection, cursor, table):
    cursor.execute(f"SELECT count(*) FROM {TABLE}")
    cursor.execute("SELECT count(*) FROM %s" % connection.ops.quote_name(table))
