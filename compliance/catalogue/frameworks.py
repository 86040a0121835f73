"""The frameworks, by the ids of their requirements. Titles are our own words, never a framework's text."""

FRAMEWORKS: dict[str, tuple[str, str, dict[str, str]]] = {
    "soc2_tsc_2017": (
        "SOC 2",
        "2017",
        {
            "CC6.1": "Only known people and programs reach systems and data",
            "CC7.1": "New weaknesses are looked for and noticed",
            "CC7.4": "What was found is answered in time",
        },
    ),
    "iso_27001_2022": (
        "ISO 27001",
        "2022",
        {
            "A.8.2": "Far-reaching rights are few and guarded",
            "A.8.5": "Signing in takes more than a guess",
            "A.8.8": "Weaknesses are known and dealt with",
        },
    ),
    "gdpr": (
        "GDPR",
        "2016/679",
        {
            "32(1)(b)": "Systems that hold personal data stay protected",
            "32(1)(d)": "Protection is put to the test again and again",
        },
    ),
}
