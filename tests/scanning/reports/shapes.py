"""A small report of each format, made by hand: what the tests cut, spoil and read."""

import json

SECRET = "hunter2-Zq8vX1"

SHAPES: dict[str, object] = {
    "bandit": {
        "errors": [],
        "metrics": {"_totals": {"loc": 9}, "./shop.py": {"loc": 9}},
        "results": [
            {
                "code": f"3 password = '{SECRET}'\n4 \n",
                "filename": "./shop.py",
                "issue_confidence": "MEDIUM",
                "issue_severity": "LOW",
                "issue_text": f"Possible hardcoded password: '{SECRET}'",
                "issue_cwe": {"id": 259},
                "line_number": 3,
                "line_range": [3],
                "test_id": "B105",
            }
        ],
    },
    "semgrep": {
        "version": "1.182.0",
        "errors": [],
        "paths": {"scanned": ["shop.py", "clean.py"]},
        "results": [
            {
                "check_id": "rules.django.raw-sql",
                "path": "shop.py",
                "start": {"line": 4, "col": 5},
                "end": {"line": 4, "col": 30},
                "extra": {
                    "message": "SQL is put together by hand. Use parameters.",
                    "severity": "ERROR",
                    "lines": "requires login",
                    "fingerprint": "requires login",
                    "metadata": {"cwe": ["CWE-89: SQL injection"], "confidence": "HIGH"},
                },
            }
        ],
    },
    "pip_audit": {
        "dependencies": [
            {
                "name": "Jinja2",
                "version": "2.4.1",
                "vulns": [
                    {
                        "id": "PYSEC-2019-217",
                        "fix_versions": ["2.10.1"],
                        "aliases": ["CVE-2019-10906"],
                        "description": "x",
                    }
                ],
            },
            {"name": "clean", "version": "1", "vulns": []},
        ],
        "fixes": [],
    },
    "safety": {
        "report_meta": {"safety_version": "2.3.5"},
        "vulnerabilities": [
            {
                "vulnerability_id": "38100",
                "package_name": "jinja2",
                "analyzed_version": "2.4.1",
                "advisory": "Sandbox escape.",
                "CVE": "CVE-2019-10906",
                "severity": {"cvssv3": {"base_score": 8.6, "vector_string": "CVSS:3.0/AV:N"}},
                "fixed_versions": ["2.10.1"],
            }
        ],
        "ignored_vulnerabilities": [],
    },
    "trivy": {
        "SchemaVersion": 2,
        "ArtifactType": "filesystem",
        "Results": [
            {
                "Target": ".env",
                "Class": "secret",
                "Secrets": [
                    {
                        "RuleID": "github-pat",
                        "Severity": "CRITICAL",
                        "Title": "GitHub token",
                        "StartLine": 1,
                        "EndLine": 1,
                        "Match": "token=*****",
                        "Code": {"Lines": [{"Number": 2, "Content": f"other = {SECRET}"}]},
                    }
                ],
            },
            {"Target": "clean.lock", "Class": "lang-pkgs", "Type": "npm", "Vulnerabilities": None},
        ],
    },
    "gitleaks": [
        {
            "RuleID": "generic-api-key",
            "Description": "Generic API key",
            "StartLine": 4,
            "EndLine": 4,
            "StartColumn": 1,
            "EndColumn": 20,
            "Match": f"key={SECRET}",
            "Secret": SECRET,
            "File": "shop.py",
            "Commit": "",
        }
    ],
    "detect_secrets": {
        "version": "1.5.0",
        "plugins_used": [{"name": "KeywordDetector"}],
        "results": {
            "shop.py": [{"type": "Secret Keyword", "filename": "shop.py", "hashed_secret": "ab12", "line_number": 3}]
        },
    },
    "checkov": {
        "check_type": "dockerfile",
        "results": {
            "failed_checks": [
                {
                    "check_id": "CKV_DOCKER_3",
                    "check_name": "Ensure that a user has been created",
                    "check_result": {"result": "FAILED"},
                    "code_block": [[1, "FROM scratch\n"]],
                    "file_path": "/Dockerfile",
                    "file_line_range": [1, 1],
                    "resource": "/Dockerfile.",
                    "severity": None,
                }
            ],
            "skipped_checks": [],
            "parsing_errors": [],
        },
        "summary": {"checkov_version": "3.3.30"},
    },
    "osv_scanner": {
        "results": [
            {
                "source": {"path": "requirements.txt", "type": "lockfile"},
                "packages": [
                    {
                        "package": {"name": "jinja2", "version": "2.4.1", "ecosystem": "PyPI"},
                        "vulnerabilities": [
                            {
                                "id": "GHSA-462w-v97r-4m45",
                                "aliases": ["CVE-2019-10906"],
                                "summary": "Sandbox escape",
                                "database_specific": {"cwe_ids": ["CWE-693"]},
                                "affected": [
                                    {
                                        "package": {"name": "jinja2"},
                                        "ranges": [
                                            {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.10.1"}]}
                                        ],
                                    }
                                ],
                            }
                        ],
                        "groups": [{"ids": ["GHSA-462w-v97r-4m45"], "max_severity": "8.6"}],
                    }
                ],
            }
        ]
    },
    "sarif": {
        "version": "2.1.0",
        "runs": [
            {
                "results": [
                    {
                        "ruleId": "R1",
                        "ruleIndex": 0,
                        "message": {"text": "Untrusted data reaches a call."},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {"uri": "my%20shop.py", "uriBaseId": "SRC"},
                                    "region": {"startLine": 7, "snippet": {"text": "eval(x)"}},
                                }
                            }
                        ],
                        "partialFingerprints": {"primaryLocationLineHash": "39fa:1", "fileHash": "changes"},
                        "suppressions": [{"kind": "inSource", "justification": "tested"}],
                    }
                ],
                "tool": {
                    "driver": {
                        "name": "One",
                        "rules": [
                            {"id": "R1", "properties": {"security-severity": "9.1", "tags": ["external/cwe/cwe-095"]}}
                        ],
                    }
                },
            },
            {"tool": {"driver": {"name": "Two"}}, "results": []},
        ],
    },
    "cyclonedx": {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "components": [
            {
                "name": "outer",
                "components": [{"bom-ref": "j", "name": "jinja2", "version": "2.4.1", "purl": "pkg:pypi/jinja2@2.4.1"}],
            }
        ],
        "vulnerabilities": [
            {
                "id": "CVE-2019-10906",
                "ratings": [{"score": 8.6, "severity": "high", "vector": "CVSS:3.0/AV:N"}],
                "cwes": [693],
                "description": "Sandbox escape.",
                "affects": [{"ref": "j"}],
                "analysis": {"state": "not_affected", "detail": "no sandbox here"},
            }
        ],
    },
    "generic": {
        "tool": "pentest",
        "version": "2026-11",
        "files": ["shop.py"],
        "findings": [
            {"rule": "idor", "title": "Orders of others can be read", "severity": "high", "path": "shop.py", "line": 9}
        ],
    },
}  # fmt: skip


def written(format: str) -> bytes:
    return json.dumps(SHAPES[format], indent=1).encode()
