"""Checkov: infrastructure as code. `--soft-fail`, so that 0 means that it did its work; on a missing folder it exits 0
and prints nothing. What it could not parse stands in the report alone, by name only without `--quiet`."""

from pathlib import Path

from scanning.scanners.base import WHOLE, Scanner, register
from scanning.scanners.names import base, is_infrastructure

OWN = (".checkov.yaml", ".checkov.yml")  # the target does not decide what is looked for in it
# Those that need neither the network nor another program.
FRAMEWORKS = (
    "terraform", "cloudformation", "kubernetes", "dockerfile", "github_actions", "gitlab_ci", "azure_pipelines",
    "bitbucket_pipelines", "circleci_pipelines", "ansible", "arm", "bicep", "serverless", "openapi",
)  # fmt: skip


@register
class Checkov(Scanner):
    name = "checkov"
    reads = "Terraform, CloudFormation, Kubernetes, Dockerfiles, pipelines, Ansible"
    pace = WHOLE
    staged = True
    prints = True

    def fits(self, name: str) -> bool:
        return is_infrastructure(name) and base(name) not in OWN

    def command(self, files: list[str], report: Path) -> list[str]:
        return [
            self.program, "--directory", ".", "--output", "json", "--compact", "--soft-fail", "--skip-download",
            "--framework", *FRAMEWORKS,
        ]  # fmt: skip
