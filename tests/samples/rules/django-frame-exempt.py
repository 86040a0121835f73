from django.views.decorators.clickjacking import xframe_options_exempt, xframe_options_sameorigin


@xframe_options_exempt  # found
def bad(request):
    return None


@xframe_options_sameorigin
def good(request):
    return None
