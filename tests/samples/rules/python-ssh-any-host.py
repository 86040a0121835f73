import paramiko


def bad(client):
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # found
    client.set_missing_host_key_policy(paramiko.WarningPolicy)  # found


def good(client):
    client.load_system_host_keys()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
