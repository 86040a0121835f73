"""What every app may use: no tables, and no import of an app. News that must travel up goes through here."""
