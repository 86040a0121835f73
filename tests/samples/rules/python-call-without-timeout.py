import requests


def bad(address):
    requests.post(address, json={})  # found
    return requests.get(address)  # found


def good(address, **options):
    requests.get(address, **options)
    return requests.get(address, timeout=10)
