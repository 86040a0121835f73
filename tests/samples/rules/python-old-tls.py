import ssl


def bad(context):
    context.minimum_version = ssl.TLSVersion.TLSv1  # found
    return ssl.SSLContext(ssl.PROTOCOL_TLSv1)  # found


def good(context):
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context()
