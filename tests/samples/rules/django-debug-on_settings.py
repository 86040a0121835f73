DEBUG = True  # found


class Good:
    TEMPLATE = {"debug": False}
