from shop.models import Order


def bad(request):
    if request.method == "POST":
        return Order.objects.create(**request.POST.dict())  # found
    return Order.objects.filter(**request.GET.dict())  # found


def good(request):
    return Order.objects.filter(customer=request.GET["customer"])
