import hmac


def bad(key, text, given):
    if hmac.new(key, text, "sha256").hexdigest() != given:  # found
        return False
    return given == hmac.new(key, text, "sha256").digest()  # found


def good(key, text, given):
    return hmac.compare_digest(hmac.new(key, text, "sha256").digest(), given)
