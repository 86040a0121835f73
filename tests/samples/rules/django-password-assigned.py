def bad(user, request, form):
    user.password = request.POST["password"]  # found
    user.password = form.cleaned_data["password"]  # found
    user.save()


def good(user, request, hashed):
    user.set_password(request.POST["password"])
    user.password = hashed
    user.save()
