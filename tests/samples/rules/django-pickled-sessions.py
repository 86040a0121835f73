SESSION_SERIALIZER = "django.contrib.sessions.serializers.PickleSerializer"  # found
SESSION_SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"
