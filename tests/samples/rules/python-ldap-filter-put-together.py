import ldap
from ldap.filter import escape_filter_chars


def bad(connection, name):
    connection.search_s("dc=example", ldap.SCOPE_SUBTREE, f"(uid={name})")  # found
    return connection.search_s("dc=example", ldap.SCOPE_SUBTREE, "(uid=%s)" % name)  # found


def good(connection, name):
    connection.search_s("dc=example", ldap.SCOPE_SUBTREE, f"(uid={escape_filter_chars(name)})")
    return connection.search_s("dc=example", ldap.SCOPE_SUBTREE, "(uid=olga)")
