"""OWASP ASVS 5.0, chapter Authentication: each requirement with the tests that hold it, or why there is none."""

SIGN_IN = "tests/accounts/test_sign_in.py::"
PASSWORDS = "tests/accounts/test_passwords.py::"
ATTACKS = "tests/accounts/test_attacks.py::"
LOCKOUT = "tests/accounts/test_lockout.py::"
SSO = "tests/accounts/sso/"
MFA = "tests/accounts/mfa/"

# Tests by file::name; a reason begins with "-".
AUTHENTICATION: dict[str, str] = {
    "V6.2.1": PASSWORDS + "test_fifteen_alone_and_eight_beside_a_factor",
    "V6.2.3": PASSWORDS + "test_what_keeps_it_as_it_is",
    "V6.2.4": PASSWORDS + "test_the_commonest_are_refused_whatever_their_length",
    "V6.2.5": PASSWORDS + "test_no_rules_of_composition_and_long_ones_are_welcome",
    "V6.2.7": PASSWORDS + "test_password_managers_know_the_fields",
    "V6.2.8": PASSWORDS + "test_it_is_checked_exactly_as_typed",
    "V6.2.9": PASSWORDS + "test_a_long_one_is_judged_quickly_and_one_too_long_refused",
    "V6.2.10": PASSWORDS + "test_it_never_runs_out",
    "V6.2.12": PASSWORDS + "test_a_file_of_leaked_ones_is_searched",
    "V6.3.1": LOCKOUT + "test_the_owner_elsewhere_is_never_locked",
    "V6.3.2": ATTACKS + "test_nobody_can_sign_in_to_a_fresh_installation",
    "V6.3.3": ATTACKS + "test_every_way_in_asks_an_enrolled_person_for_the_second_factor",
    "V6.3.4": ATTACKS + "test_every_way_in_asks_an_enrolled_person_for_the_second_factor",
    "V6.3.5": "tests/accounts/logins/test_sessions.py::test_the_mail_goes_out_once_and_its_token_is_kept_nowhere",
    "V6.3.7": PASSWORDS + "test_it_is_changed_with_the_old_one_and_ends_other_sessions",
    "V6.3.8": PASSWORDS + "test_words_and_work_are_the_same_whether_there_is_an_account",
    "V6.4.1": PASSWORDS + "test_the_link_is_short_lived_and_the_newest_alone_counts",
    "V6.4.3": PASSWORDS + "test_the_link_sets_a_new_one_and_the_second_factor_stays",
    "V6.4.6": MFA + "test_resets.py::test_no_page_of_the_admin_or_api_sets_anothers_password",
    "V6.5.1": ATTACKS + "test_of_eight_parallel_uses_of_one_code_one_signs_in",
    "V6.5.2": ATTACKS + "test_recovery_codes_and_secrets_have_no_reversible_form",
    "V6.5.5": MFA + "test_messages.py::test_what_a_code_is_not_good_for",
    "V6.5.6": MFA + "test_passkeys.py::test_a_removed_a_foreign_and_a_deactivated_owners_passkey_do_nothing",
    "V6.6.2": MFA + "test_messages.py::test_what_a_code_is_not_good_for",
    "V6.6.3": MFA + "test_messages.py::test_guessing_slows_down_and_survives_a_new_password_login",
    "V6.8.1": SSO + "test_accounts.py::test_a_second_provider_with_the_same_subject_and_address_takes_no_account",
    "V6.8.2": SSO + "test_checks.py::test_what_is_wrong_with_the_answer_signs_nobody_in",
    "V6.8.4": SSO + "test_factors.py::test_what_proves_nothing_changes_nothing",
}
