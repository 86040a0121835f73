from lxml import etree


def bad(text):
    etree.fromstring(text, etree.XMLParser(resolve_entities=True))  # found
    return etree.fromstring(text, etree.XMLParser(no_network=False, load_dtd=True))  # found


def good(text):
    return etree.fromstring(text, etree.XMLParser(resolve_entities=False))
