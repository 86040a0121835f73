CORS_ALLOW_ALL_ORIGINS = True  # found
CORS_ALLOWED_ORIGINS = ["https://shop.example"]
