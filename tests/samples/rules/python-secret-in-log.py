import logging

logger = logging.getLogger("shop")


def bad(user, password, api_key):
    logger.info("signed in with %s", password)  # found
    logger.debug(f"called with {api_key}")  # found
    logging.warning("%s has %s", user.name, user.password)  # found


def good(user, password):
    logger.info("password of %s was changed", user.name)
    logger.info("a password of %s letters", len(password))
