use super::*;
use crate::provider::ProviderError;

const NOW: i64 = 1_795_598_400;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// As Keycloak 26.7.3 answers, all fields.
fn user(json: &str) -> User {
    serde_json::from_str(json).unwrap()
}

fn entry(kind: &str, created_date: Option<i64>) -> CredentialEntry {
    CredentialEntry { kind: kind.to_owned(), created_date }
}

const ROW: &str = r#"{"id":"1adf2bc5","username":"totp","firstName":"A","lastName":"B","email":"totp@x.example",
    "emailVerified":false,"enabled":true,"createdTimestamp":1795598260725,"totp":false,"disableableCredentialTypes":[],
    "requiredActions":["CONFIGURE_TOTP","VERIFY_EMAIL"],"notBefore":0,"access":{"manage":true}}"#;

#[test]
fn a_row_shows_the_mark_and_says_nothing_about_the_password() {
    let account = user(ROW).account(now());
    assert_eq!(account.id.0, "1adf2bc5");
    assert_eq!(account.username.as_deref(), Some("totp"));
    assert_eq!(account.emails, ["totp@x.example"]);
    assert_eq!(account.mark, Mark::Unmarked);
    assert_eq!(account.credential, Credential::NotGiven);
    assert_eq!(account.changed, ChangeTime::NotGiven);
    assert_eq!((account.disabled, account.locked), (Some(false), Some(false)));
    assert_eq!(account.sort_key, "totp");
    assert_eq!(account.answered_at, now());
}

#[test]
fn a_row_without_required_actions_does_not_count_as_unmarked() {
    let brief = user(r#"{"id":"1","username":"a"}"#);
    assert_eq!(brief.account(now()).mark, Mark::NotGiven);
    assert_eq!(brief.account(now()).disabled, None);
    assert_eq!(brief.with_mark(), None, "a list that was not seen must not be replaced");
}

#[test]
fn the_write_keeps_every_required_action_in_its_order() {
    let actions = user(ROW).with_mark().unwrap();
    assert_eq!(actions.required_actions, ["CONFIGURE_TOTP", "VERIFY_EMAIL", UPDATE_PASSWORD]);
    assert_eq!(
        serde_json::to_string(&actions).unwrap(),
        r#"{"requiredActions":["CONFIGURE_TOTP","VERIFY_EMAIL","UPDATE_PASSWORD"]}"#
    );
}

#[test]
fn the_mark_is_not_added_twice() {
    let marked = user(r#"{"id":"1","requiredActions":["UPDATE_PASSWORD","CONFIGURE_TOTP"]}"#);
    assert_eq!(marked.account(now()).mark, Mark::Marked);
    assert_eq!(marked.with_mark().unwrap().required_actions, ["UPDATE_PASSWORD", "CONFIGURE_TOTP"]);
}

#[test]
fn another_required_action_is_not_the_mark() {
    let other = user(r#"{"id":"1","requiredActions":["update_password","UPDATE_PASSWORD_X"]}"#);
    assert_eq!(other.account(now()).mark, Mark::Unmarked);
}

#[test]
fn users_of_a_user_storage_are_federated() {
    assert_eq!(user(r#"{"id":"1","federationLink":"ldap-1"}"#).account(now()).credential, Credential::Federated);
    assert_eq!(user(r#"{"id":"f:ldap-1:bob"}"#).account(now()).credential, Credential::Federated);
    let with_local = with_credentials(
        user(r#"{"id":"1","federationLink":"ldap-1"}"#).account(now()),
        &[entry("password", Some(1_795_598_260_734))],
    );
    assert_eq!(with_local.unwrap().credential, Credential::Federated);
}

#[test]
fn the_password_credential_gives_the_change_time_to_the_millisecond() {
    let account = with_credentials(
        user(ROW).account(now()),
        &[entry("otp", Some(9)), entry("password", Some(1_795_598_260_734))],
    )
    .unwrap();
    assert_eq!(account.credential, Credential::Local);
    assert_eq!(account.changed, ChangeTime::At(Timestamp::from_millisecond(1_795_598_260_734).unwrap()));
}

#[test]
fn a_user_without_a_password_credential_has_no_password() {
    let passkey = with_credentials(user(ROW).account(now()), &[entry("webauthn-passwordless", Some(5))]).unwrap();
    assert_eq!((passkey.credential, passkey.changed), (Credential::NoPassword, ChangeTime::Absent));
}

#[test]
fn a_password_without_a_date_is_a_password_whose_age_nobody_knows() {
    for created in [None, Some(0), Some(-1)] {
        let account = with_credentials(user(ROW).account(now()), &[entry("password", created)]).unwrap();
        assert_eq!((account.credential, account.changed), (Credential::Local, ChangeTime::Absent));
    }
}

#[test]
fn a_date_outside_all_calendars_is_not_believed() {
    assert!(with_credentials(user(ROW).account(now()), &[entry("password", Some(i64::MAX))]).is_err());
}

#[test]
fn a_service_account_has_the_name_and_no_password() {
    let named = || user(r#"{"id":"1","username":"service-account-op","requiredActions":[]}"#).account(now());
    assert_eq!(named().credential, Credential::NotGiven, "the name alone proves nothing");
    assert_eq!(with_credentials(named(), &[]).unwrap().credential, Credential::Service);
    let shown = user(r#"{"id":"1","serviceAccountClientId":"c1"}"#).account(now());
    assert_eq!(shown.credential, Credential::Service);
}

#[test]
fn a_person_who_takes_the_name_of_a_service_account_is_not_spared() {
    let person = user(r#"{"id":"1","username":"service-account-me","requiredActions":[]}"#).account(now());
    let person = with_credentials(person, &[entry("password", Some(1_795_598_260_734))]).unwrap();
    assert_eq!(person.credential, Credential::Local);
}

fn groups() -> Vec<Group> {
    serde_json::from_str(
        r#"[{"id":"g-a","name":"a","path":"/a","subGroupCount":1,"subGroups":[{"id":"g-ab","name":"b","path":"/a/b"}]},
            {"id":"g-b","name":"b","path":"/b","subGroups":[]},{"id":"g-B","name":"B","path":"/B"}]"#,
    )
    .unwrap()
}

#[test]
fn groups_are_found_at_any_depth_by_their_exact_name() {
    assert_eq!(matching_groups(&groups(), "b"), ["g-ab", "g-b"]);
    assert_eq!(matching_groups(&groups(), "B"), ["g-B"]);
    assert_eq!(matching_groups(&groups(), "c"), [""; 0]);
}

#[test]
fn a_path_or_an_id_tells_two_groups_of_one_name_apart() {
    assert_eq!(matching_groups(&groups(), "/a/b"), ["g-ab"]);
    assert_eq!(matching_groups(&groups(), "/b"), ["g-b"]);
    assert_eq!(matching_groups(&groups(), "g-b"), ["g-b"]);
}

#[test]
fn a_path_is_searched_by_its_last_segment() {
    assert_eq!(group_search("ops"), "ops");
    assert_eq!(group_search("/a/b"), "b");
    assert_eq!(group_search("/a/r~/d"), "r/d");
}

fn refused(about: About, status: u16, body: &str) -> ProviderError {
    let (kind, message) = refusal(about, "demo", status, body.as_bytes()).unwrap();
    ProviderError::new(kind, "test", message)
}

#[test]
fn a_refused_listing_names_the_roles_to_grant() {
    let error = refused(About::Realm, 403, r#"{"error":"HTTP 403 Forbidden"}"#);
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
    assert!(error.message.contains("view-users and manage-users"), "{}", error.message);
    assert!(error.message.contains("realm-management"), "{}", error.message);
    let error = refused(About::RequiredAction, 403, "");
    assert!(error.message.contains("view-realm"), "{}", error.message);
    let error = refused(About::Groups, 403, "");
    assert!(error.message.contains("query-groups"), "{}", error.message);
}

#[test]
fn a_refused_write_is_about_one_account() {
    let error = refused(About::Write, 403, r#"{"error":"HTTP 403 Forbidden"}"#);
    assert_eq!(error.kind, ErrorKind::Forbidden);
    assert!(error.message.contains("manage-users"), "{}", error.message);
}

#[test]
fn a_404_in_keycloaks_form_means_that_something_does_not_exist_and_any_other_that_the_address_is_wrong() {
    assert_eq!(refused(About::Groups, 404, r#"{"error":"Could not find group by id"}"#).kind, ErrorKind::NotFound);
    let action = refused(About::RequiredAction, 404, r#"{"error":"Failed to find required action"}"#);
    assert_eq!(action.kind, ErrorKind::NotFound);
    assert_eq!(refused(About::Account, 404, r#"{"error":"User not found"}"#).kind, ErrorKind::NotFound);
    assert_eq!(refused(About::Write, 404, r#"{"error":"Realm not found."}"#).kind, ErrorKind::PermissionDenied);
    assert_eq!(refused(About::Account, 404, "<html>nothing here</html>").kind, ErrorKind::ResponseInvalid);
    for said in [r#"{"errorMessage":"User not found"}"#, r#"{"error":"not_found"}"#] {
        assert_eq!(refused(About::Account, 404, said).kind, ErrorKind::NotFound, "{said}");
        assert_eq!(refused(About::Realm, 404, said).kind, ErrorKind::ResponseInvalid, "{said}");
    }
    for nowhere in [
        r#"{"error":"Unable to find matching target resource method"}"#,
        r#"{"error":"No such realm"}"#,
        r#"{"status":404,"error":"Not Found"}"#,
    ] {
        for about in [About::Realm, About::Account, About::Groups] {
            assert_eq!(refused(about, 404, nowhere).kind, ErrorKind::ResponseInvalid, "{nowhere}");
        }
    }
    // Without the name of a realm, or its settings, everything else works.
    assert_eq!(refused(About::RealmName, 403, "{}").kind, ErrorKind::Forbidden);
    assert_eq!(refused(About::RealmName, 404, "{}").kind, ErrorKind::Forbidden, "the name is not needed");
    assert_eq!(refused(About::RequiredAction, 404, r#"{"error":"not_found"}"#).kind, ErrorKind::Forbidden);
}

#[test]
fn a_profile_that_no_longer_validates_is_a_refusal_with_the_vendors_code() {
    let error = refused(
        About::Write,
        400,
        r#"{"field":"department","errorMessage":"error-user-attribute-required","params":["department"]}"#,
    );
    assert_eq!(error.kind, ErrorKind::Rejected);
    assert!(error.message.contains("user profile (error-user-attribute-required)"), "{}", error.message);
    assert!(!error.message.contains("department"), "{}", error.message);
}

#[test]
fn free_text_of_an_answer_never_reaches_a_message() {
    let error = refused(About::Write, 400, r#"{"errorMessage":"Alice Example <alice@corp.example> is taken"}"#);
    assert!(!error.message.contains("Alice"), "{}", error.message);
}

#[test]
fn pressure_and_outages_are_left_to_the_shared_rules() {
    for status in [429, 500, 502, 503] {
        assert_eq!(refusal(About::Write, "demo", status, b""), None);
    }
}

#[test]
fn an_update_that_could_not_be_stored_or_that_met_another_one_may_work_the_next_time() {
    let stored = refused(About::Write, 400, r#"{"errorMessage":"Could not update user!"}"#);
    assert_eq!(stored.kind, ErrorKind::Unreachable);
    let profile = refused(About::Write, 400, r#"{"field":"email","errorMessage":"error-invalid-email"}"#);
    assert_eq!(profile.kind, ErrorKind::Rejected);
    let exists = refused(About::Write, 409, r#"{"errorMessage":"User exists with same email"}"#);
    assert_eq!(exists.kind, ErrorKind::Rejected);
    assert!(refusal(About::Write, "demo", 409, b"{}").is_none());
}
