"""Which file is what, by its name."""

BINARY = (
    ".7z", ".a", ".avi", ".bin", ".bmp", ".bz2", ".class", ".db", ".dll", ".dylib", ".eot", ".exe", ".gif", ".gz",
    ".ico", ".jar", ".jpeg", ".jpg", ".mo", ".mov", ".mp3", ".mp4", ".o", ".otf", ".pdf", ".png", ".pyc", ".pyd",
    ".rar", ".so", ".sqlite", ".sqlite3", ".tar", ".tgz", ".tiff", ".ttf", ".war", ".wasm", ".wav", ".webm", ".webp",
    ".whl", ".woff", ".woff2", ".xz", ".zip", ".zst",
)  # fmt: skip


def base(name: str) -> str:
    return name.rpartition("/")[2].lower()


def is_text(name: str) -> bool:
    return not name.lower().endswith(BINARY)


def is_requirements(name: str) -> bool:
    """requirements.txt, requirements-dev.txt, dev-requirements.txt, and what stands in a folder called requirements."""
    folder, _, file = name.lower().rpartition("/")
    return file.endswith(".txt") and ("requirements" in file or folder.rpartition("/")[2] == "requirements")


def is_infrastructure(name: str) -> bool:
    """Terraform, CloudFormation, Kubernetes, Dockerfiles, pipelines, Ansible."""
    file = base(name)
    if file == "dockerfile" or file.startswith("dockerfile.") or file.endswith(".dockerfile"):
        return True
    if file.endswith((".tf", ".tf.json", ".tfvars", ".bicep", ".yaml", ".yml", ".template")):
        return True
    return file.endswith(".json") and any(word in file for word in ("cloudformation", "template", "azuredeploy"))
