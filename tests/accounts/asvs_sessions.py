"""OWASP ASVS 5.0.0 on sessions, tokens and OAuth: the test that holds each requirement, or why there is none here."""

SESSIONS = "tests/accounts/logins/test_sessions.py"
ATTACKS = "tests/accounts/tokens/test_attacks.py"
JWT = "tests/accounts/tokens/test_jwt.py"
CHECKS = "tests/accounts/sso/test_checks.py"
LINKS = "tests/accounts/sso/test_accounts.py"

ROWS: dict[str, list[str] | str] = {
    "V7.2.4": [
        f"{SESSIONS}::test_the_cookie_is_new_at_each_step_and_the_old_one_is_dead",
        f"{SESSIONS}::test_a_planted_cookie_is_not_taken_over",
    ],
    "V7.3.1": [
        f"{SESSIONS}::test_an_unused_session_ends",
        f"{SESSIONS}::test_a_page_that_reads_itself_again_keeps_no_session",
    ],
    "V7.3.2": [
        f"{SESSIONS}::test_a_session_in_use_ends_all_the_same",
        f"{JWT}::test_a_family_ends_after_thirty_days",
    ],
    "V7.4.1": [
        f"{SESSIONS}::test_sign_out_ends_the_row_and_the_stolen_cookie",
        f"{JWT}::test_the_end_of_a_session_ends_its_tokens",
    ],
    "V7.4.2": [
        f"{ATTACKS}::test_every_token_dies_at_once",
        f"{SESSIONS}::test_what_changes_an_account_ends_its_sessions",
    ],
    "V7.4.3": [
        f"{SESSIONS}::test_what_changes_an_account_ends_its_sessions",
        f"{SESSIONS}::test_all_others_are_ended",
    ],
    "V7.4.5": [f"{SESSIONS}::test_an_officer_ends_sessions_in_the_admin"],
    "V7.5.1": [
        "tests/api/test_tokens.py::test_a_person_makes_and_ends_a_token_with_a_fresh_factor",
        f"{JWT}::test_a_pair_for_a_session_of_the_console",
        f"{SESSIONS}::test_this_was_not_me_on_the_page_needs_a_fresh_second_factor",
    ],
    "V7.5.2": [
        f"{SESSIONS}::test_sessions_by_the_api",
        f"{SESSIONS}::test_one_session_is_ended_from_another",
    ],
    "V7.5.3": [
        "tests/architecture/test_url_map.py::test_each_admin_page_is_refused_without_and_opened_with_its_permission",
        "tests/accounts/tokens/test_service_accounts.py::test_changing_them_needs_a_fresh_second_factor",
    ],
    "V9.1.1": [f"{ATTACKS}::test_forged_access_tokens", f"{ATTACKS}::test_forged_refresh_tokens"],
    "V9.1.2": [
        f"{ATTACKS}::test_forged_access_tokens",
        f"{JWT}::test_two_algorithms_are_never_accepted_at_once",
    ],
    "V9.1.3": [
        f"{ATTACKS}::test_forged_access_tokens",
        f"{JWT}::test_a_key_slipped_into_the_table_signs_and_verifies_nothing",
    ],
    "V9.2.1": [
        f"{ATTACKS}::test_expired_is_told_from_invalid",
        f"{ATTACKS}::test_forged_access_tokens",
        f"{ATTACKS}::test_claims_of_another_type",
    ],
    "V9.2.2": [f"{ATTACKS}::test_a_refresh_token_is_no_access_token_and_back"],
    "V9.2.3": [f"{ATTACKS}::test_forged_access_tokens"],
    "V10.1.2": [
        f"{CHECKS}::test_a_state_is_good_once_in_its_own_browser_with_its_own_provider_for_ten_minutes",
        f"{CHECKS}::test_a_copied_session_can_not_spend_the_state_twice",
    ],
    "V10.2.2": [
        f"{CHECKS}::test_what_is_wrong_with_the_way_back",
        f"{CHECKS}::test_a_state_begun_with_one_provider_is_none_of_another",
        f"{CHECKS}::test_where_the_provider_promises_its_name_it_must_be_there",
    ],
    "V10.4.5": [
        f"{ATTACKS}::test_a_replayed_refresh_token_ends_the_family",
        f"{ATTACKS}::test_of_eight_parallel_uses_one_succeeds_and_the_family_ends",
    ],
    "V10.4.8": [f"{JWT}::test_a_family_ends_after_thirty_days"],
    "V10.5.1": [f"{CHECKS}::test_what_is_wrong_with_the_answer_signs_nobody_in"],
    "V10.5.2": [
        f"{LINKS}::test_an_account_with_the_same_address_is_not_taken_over",
        f"{LINKS}::test_who_is_linked_is_known_by_subject_whatever_the_address",
    ],
    "V10.5.3": [f"{CHECKS}::test_what_is_wrong_with_discovery_leads_nowhere"],
    "V10.5.4": [f"{CHECKS}::test_what_is_wrong_with_the_answer_signs_nobody_in"],
    "V10.5.5": [
        f"{LINKS}::test_the_provider_ends_one_session_by_sid_and_all_by_subject",
        f"{LINKS}::test_a_logout_token_that_is_none_ends_nothing",
    ],
}
