from django.contrib import admin

from scanning.admin import ReadOnly
from scanning.imports.models import Import


@admin.register(Import)
class ImportAdmin(ReadOnly):
    resource = "imports"
    task = "Code and findings"
    list_display = ["created_at", "asset", "name", "imported_by", "is_partial", "undone_at"]
    list_filter = ["asset"]
    console = "import"
    list_select_related = ["asset", "imported_by"]
    search_fields = ["name", "digest", "asset__name"]
    ordering = ["-id"]
