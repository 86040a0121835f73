import ssl

import requests


def bad(url, context):
    context.verify_mode = ssl.CERT_NONE  # found
    return requests.get(url, timeout=5, verify=False)  # found


def good(url):
    return requests.get(url, timeout=5, verify="/etc/ca.pem")
