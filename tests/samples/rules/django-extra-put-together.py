from shop.models import Order


def bad(name):
    Order.objects.extra(select={"old": f"placed < '{name}'"})  # found
    return Order.objects.all().extra(where=["customer = '%s'" % name])  # found


def good(name):
    Order.objects.extra(where=["customer = %s"], params=[name])
    return Order.objects.filter(customer=name)
