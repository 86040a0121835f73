from django.apps import AppConfig


class TriageConfig(AppConfig):
    name = "scanning.triage"
    label = "triage"
    verbose_name = "Decisions on findings"

    def ready(self) -> None:
        from audit.registry import audited
        from scanning.triage import events, notices, permissions, receivers  # noqa: F401  (registers)
        from scanning.triage.models import BulkAction, Comment, Decision

        # That a decision was undone is told by the event of its finding.
        audited(Decision, plain=("reason", "answer"), ignore=("undone_at",))
        audited(Comment, personal=("text",))  # may hold anything: it can be erased, and still proved
        audited(BulkAction, plain=("reason", "word"), ignore=("left",))
