"""The drawings, by name: 16-unit line icons for things and actions, 14-unit shapes for severities and states.

A state's shape serves nothing else, so that it can be told without its colour.
"""

THINGS = {
    "play": '<path d="M4.5 2.5 13 8l-8.5 5.5z"/>',
    "overview": '<path d="M2.5 11.5a5.75 5.75 0 1 1 11 0"/><path d="m8 10 2.6-3.4"/><path d="M2.5 13.5h11"/>',
    "findings": '<circle cx="7" cy="7" r="4.5"/><path d="m10.5 10.5 3.5 3.5"/><path d="M7 5v2.5M7 9v.01"/>',
    "trail": (
        '<path d="M6.5 9.5a2.5 2.5 0 0 0 3.5 0l2.5-2.5A2.5 2.5 0 0 0 9 3.5L8 4.5"/>'
        '<path d="M9.5 6.5a2.5 2.5 0 0 0-3.5 0L3.5 9A2.5 2.5 0 0 0 7 12.5l1-1"/>'
    ),
    "controls": '<path d="m2 4 1.2 1.2L5.5 3M2 9l1.2 1.2L5.5 8M8 4.5h6M8 9.5h6M8 13h4"/>',
    "admin": (
        '<path d="M2.5 4.5h6M12.5 4.5h1M2.5 11.5h1M7.500 11.5h6"/>'
        '<circle cx="10.5" cy="4.5" r="1.75"/><circle cx="5.500" cy="11.5" r="1.75"/>'
    ),
    "assets": '<path d="M8 1.5 14 4.5v7L8 14.5 2 11.500v-7zM2 4.5l6 3 6-3M8 7.500v7"/>',
    "upload": '<path d="M8 10.500v-8M4.5 5.5 8 2l3.5 3.5M2.5 13.5h11"/>',
    "shield": '<path d="M8 1.5 13.5 4v4c0 3.2-2.3 5.4-5.5 6.5C4.8 13.4 2.5 11.2 2.5 8V4z"/>',
    "menu": '<path d="M2.5 4.5h11M2.5 8h11M2.5 11.5h11"/>',
    "search": '<circle cx="7" cy="7" r="4.25"/><path d="m10.2 10.2 3.3 3.3"/>',
    "plus": '<path d="M8 3v10M3 8h10"/>',
    "close": '<path d="m4 4 8 8M12 4l-8 8"/>',
    "check": '<path d="m3 8.5 3.2 3L13 4.5"/>',
    "left": '<path d="M10 3.5 5.5 8l4.5 4.5"/>',
    "right": '<path d="M6 3.5 10.5 8 6 12.5"/>',
    "up": '<path d="M8 12.5v-9M4.5 7 8 3.5 11.5 7"/>',
    "down": '<path d="M8 3.5v9M4.5 9 8 12.5 11.5 9"/>',
    "copy": '<path d="M5.5 5.5h8v8h-8z"/><path d="M10.5 5.5v-3h-8v8h3"/>',
    "download": '<path d="M8 2v8M4.5 7 8 10.5 11.5 7M2.5 13.5h11"/>',
    "print": '<path d="M4.5 6V2h7v4M4.5 11.5h-2V6h11v5.5h-2M4.5 9.5h7V14h-7z"/>',
    "phone": '<path d="M4.5 1.5h7v13h-7zM7 12.5h2"/>',
    "key": '<circle cx="5" cy="11" r="2.75"/><path d="m7 9 6.5-6.5M11 5l2 2M9.2 6.8l1.3 1.3"/>',
    "lock": '<path d="M3.5 7.5h9v6.5h-9zM5.5 7.5V5a2.5 2.5 0 0 1 5 0v2.5"/>',
    "person": '<circle cx="8" cy="5.25" r="2.75"/><path d="M2.75 14a5.25 5.25 0 0 1 10.5 0"/>',
    "reload": '<path d="M13.25 8a5.25 5.25 0 1 1-1.75-3.900"/><path d="M13.250 1.750v3.250H10"/>',
    "out": '<path d="M6.5 2.5h-4v11h4M10 4.750 13.250 8 10 11.250M13.250 8H6"/>',
    "file": '<path d="M4 1.5h5.5L12.5 5v9.5H4z"/><path d="M9.5 1.5V5h3M6 8h4.5M6 11h4.5"/>',
    "note": '<path d="M3 2.5h10v8L9.5 13.5H3zM5.5 6h5M5.5 9h3"/>',
    "auto": '<circle cx="8" cy="8" r="5.25"/><path d="M8 2.75v10.5A5.25 5.25 0 0 0 8 2.75z" fill="currentColor"/>',
    "light": (
        '<circle cx="8" cy="8" r="2.75"/><path d="M8 1.5v1.2M8 13.3v1.2M1.5 8h1.2M13.3 8h1.2'
        'M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9"/>'
    ),
    "dark": '<path d="M13 9.5A5.5 5.5 0 0 1 6.5 3a5.5 5.5 0 1 0 6.5 6.5z"/>',
}

_RING = '<circle cx="7" cy="7" r="5.75" fill="none" stroke="currentColor" stroke-width="1.5"{}/>'
_OCTAGON = "M4.5 .75h5L13.25 4.5v5L9.5 13.25h-5L.75 9.5v-5z"

SHAPES = {
    "crit": '<path d="M7 .5 13.5 7 7 13.5 .5 7z" fill="currentColor"/>',
    "high": '<path d="M7 1.5 13.25 12.5H.75z" fill="currentColor"/>',
    "med": '<path d="M2 2h10v10H2z" fill="currentColor"/>',
    "low": '<circle cx="7" cy="7" r="5" fill="currentColor"/>',
    "info": '<circle cx="7" cy="7" r="4.25" fill="none" stroke="currentColor" stroke-width="1.5"/>',
    # the five states of a check
    "clean": (
        '<circle cx="7" cy="7" r="6.25" fill="currentColor"/>'
        '<path d="m4 7.25 2.2 2L10 5" fill="none" class="sep" stroke-width="1.6"/>'
    ),
    "never": _RING.format(' stroke-dasharray="2.4 2.1"'),
    "failed": f'<path d="{_OCTAGON}" fill="currentColor"/><path d="m4.75 4.75 4.5 4.5m0-4.5-4.5 4.5" class="sep"/>',
    "notinst": (
        '<path d="M1.75 1.75h10.5v10.5H1.75zM12 2 2 12" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    ),
    "stale": (
        _RING.format("") + '<path d="M7 3.75V7l2.25 1.5" fill="none" stroke="currentColor" stroke-width="1.5" '
        'stroke-linecap="round"/>'
    ),
    # what a run may also be
    "live": _RING.format("") + '<path d="M7 7V2.25a4.75 4.75 0 1 1-4.1 7.1z" fill="currentColor"/>',
    "queued": (
        _RING.format("") + '<path d="M4.4 7v.01M7 7v.01M9.6 7v.01" fill="none" stroke="currentColor" '
        'stroke-width="1.7" stroke-linecap="round"/>'
    ),
    "done": (
        '<path d="m2 7.5 3.5 3.5L12 3.5" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" '
        'stroke-linejoin="round"/>'
    ),
    "partly": (
        '<path d="m1 7.5 3.25 3.25L8.5 5M11.75 3v5M11.75 10.9v.01" fill="none" stroke="currentColor" '
        'stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round"/>'
    ),
    "undone": (
        '<path d="M5 2 2 5l3 3M2.250 5H9a3.250 3.250 0 0 1 0 6.500H6" fill="none" stroke="currentColor" '
        'stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/>'
    ),
    "refused": (
        f'<path d="{_OCTAGON}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        '<path d="M4.5 7h5" stroke="currentColor" stroke-width="1.8"/>'
    ),
    # what a control may also be: hatched where nothing is known
    "unknown": (
        _RING.format("") + '<path d="M2.7 8.2 8.2 2.7M3.6 10.4l6.8-6.8M5.8 11.3l5.500-5.500" fill="none" '
        'stroke="currentColor" stroke-width="1.1"/>'
    ),
    "notappl": _RING.format("") + '<path d="M4 7h6" fill="none" stroke="currentColor" stroke-width="1.5"/>',
    "excepted": (
        f'<path d="{_OCTAGON}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        '<path d="M5.250 4.500v5M8.750 4.500v5" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    ),
}

BRAND = (
    '<path d="M10 1.5 17.5 5v5c0 4.2-3.1 7.2-7.5 8.5C5.6 17.2 2.5 14.2 2.5 10V5z" fill="none" stroke="currentColor" '
    'stroke-width="1.6"/><path d="M6 10h2l1.2-3 1.8 6 1.2-3h2" fill="none" stroke="currentColor" stroke-width="1.6" '
    'stroke-linejoin="round" stroke-linecap="round"/>'
)
