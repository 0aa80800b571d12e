use super::*;

const THEN: &str = "2026-11-25T09:00:00Z";

fn then() -> Timestamp {
    THEN.parse().unwrap()
}

fn account(json: &str) -> Account {
    serde_json::from_str::<User>(json).unwrap().account(then())
}

#[test]
fn a_user_with_an_email_credential_is_local_and_shows_everything() {
    let account = account(
        r#"{"id": "17", "email": "bob@corp.example", "is_disabled": false, "is_service_account": false, "credentials_embed": [],
        "credentials_email": {"user_id": "17", "email": "bob@corp.example", "created_at": "2021-01-02T03:04:05.000+00:00",
        "logged_in_at": "2021-11-09T16:11:29.000+00:00", "is_disabled": false, "forced_password_reset_at_next_login": true},
        "credentials_saml": null}"#,
    );
    assert_eq!(account.credential, Credential::Local);
    assert_eq!(account.mark, Mark::Marked);
    assert_eq!(account.sign_in, SignIn::At("2021-11-09T16:11:29Z".parse().unwrap()));
    assert_eq!(account.credential_created, Some("2021-01-02T03:04:05Z".parse().unwrap()));
    assert_eq!((account.disabled, account.locked), (Some(false), Some(false)));
    assert_eq!(account.changed, ChangeTime::Absent);
    assert_eq!(account.emails, ["bob@corp.example"]);
    assert_eq!(account.sort_key, "00000000000000000017");
}

#[test]
fn no_credential_is_told_apart_from_no_word_about_it() {
    assert_eq!(account(r#"{"id": "1"}"#).credential, Credential::NotGiven);
    assert_eq!(account(r#"{"id": "1", "credentials_email": null}"#).credential, Credential::NoPassword);
    let sso = r#"{"id": "1", "credentials_email": null, "credentials_saml": {"type": "saml"}}"#;
    assert_eq!(account(sso).credential, Credential::Federated);
    let both = r#"{"id": "1", "credentials_email": {}, "credentials_saml": {"type": "saml"}}"#;
    assert_eq!(account(both).credential, Credential::Local, "an alternate login has a password of its own");
}

#[test]
fn service_accounts_and_embed_users_are_nobodys_password() {
    let embedded = r#""credentials_embed": [{"type": "embed"}]"#;
    for told in [
        r#""is_service_account": true, "credentials_email": {}"#.to_owned(),
        format!(r#"{embedded}, "credentials_email": null"#),
        embedded.to_owned(),
    ] {
        assert_eq!(account(&format!(r#"{{"id": "1", {told}}}"#)).credential, Credential::Service, "{told}");
    }
    let both = format!(r#"{{"id": "1", {embedded}, "credentials_email": {{}}}}"#);
    assert_eq!(account(&both).credential, Credential::Local, "who signs in by a password too is asked");
}

#[test]
fn what_a_credential_does_not_say_stays_unsaid() {
    let account = account(r#"{"id": "1", "credentials_email": {}}"#);
    assert_eq!(account.mark, Mark::NotGiven);
    assert_eq!(account.sign_in, SignIn::NotGiven);
    assert_eq!(account.credential_created, None);
    assert_eq!(account.disabled, None);
}

#[test]
fn a_sign_in_is_read_leniently_and_never_invented() {
    let read =
        |value: &str| account(&format!(r#"{{"id": "1", "credentials_email": {{"logged_in_at": {value}}}}}"#)).sign_in;
    let at = SignIn::At("2021-11-09T16:11:29Z".parse().unwrap());
    assert_eq!(read(r#""""#), SignIn::Never);
    assert_eq!(read("null"), SignIn::Never);
    for text in ["2021-11-09T16:11:29Z", "2021-11-09 16:11:29 UTC", "2021-11-09T17:11:29+01:00", "2021-11-09T16:11:29"]
    {
        assert_eq!(read(&format!("\"{text}\"")), at, "{text}");
    }
    assert_eq!(read(r#""yesterday""#), SignIn::NotGiven);
}

#[test]
fn disabled_needs_one_yes_or_two_noes() {
    let read = |user: &str, credential: &str| {
        account(&format!(
            r#"{{"id": "1", "is_disabled": {user}, "credentials_email": {{"is_disabled": {credential}}}}}"#
        ))
        .disabled
    };
    assert_eq!(read("true", "false"), Some(true));
    assert_eq!(read("false", "true"), Some(true));
    assert_eq!(read("null", "true"), Some(true));
    assert_eq!(read("false", "false"), Some(false));
    assert_eq!(read("false", "null"), None);
    assert_eq!(read("null", "null"), None);
    let without = account(r#"{"id": "1", "is_disabled": false, "credentials_email": null}"#);
    assert_eq!(without.disabled, Some(false));
}

#[test]
fn an_id_may_be_a_number_but_not_nothing() {
    assert_eq!(account(r#"{"id": 17}"#).id.0, "17");
    for bad in [r#"{"id": ""}"#, r#"{"id": null}"#, "{}", r#"{"id": -1}"#, r#"{"id": true}"#] {
        assert!(serde_json::from_str::<User>(bad).is_err(), "{bad}");
    }
}

#[test]
fn only_the_flag_on_the_same_user_is_a_read_back() {
    let read = |json: &str| serde_json::from_str::<EmailCredential>(json).unwrap();
    assert!(read(r#"{"user_id": "1", "forced_password_reset_at_next_login": true}"#).shows_requirement("1"));
    assert!(read(r#"{"user_id": 1, "forced_password_reset_at_next_login": true}"#).shows_requirement("1"));
    for other in [
        r#"{"user_id": "2", "forced_password_reset_at_next_login": true}"#,
        r#"{"user_id": "1", "forced_password_reset_at_next_login": false}"#,
        r#"{"user_id": "1"}"#,
        r#"{"user_id": null, "forced_password_reset_at_next_login": true}"#,
        r#"{"forced_password_reset_at_next_login": true}"#,
    ] {
        assert!(!read(other).shows_requirement("1"), "{other}");
    }
}

#[test]
fn no_secret_address_is_asked_for() {
    for fields in [USER_FIELDS, CREDENTIAL_FIELDS] {
        assert!(!fields.contains("url"), "{fields}");
    }
    assert!(USER_FIELDS.contains(&format!("credentials_email({CREDENTIAL_FIELDS})")));
}

#[test]
fn a_listing_ends_at_an_empty_page_a_link_without_next_or_the_total_never_at_a_short_page() {
    let headers = |link: Option<&str>, total: Option<&str>| {
        let mut headers = HeaderMap::new();
        if let Some(link) = link {
            headers.insert("link", link.parse().unwrap());
        }
        if let Some(total) = total {
            headers.insert("x-total-count", total.parse().unwrap());
        }
        headers
    };
    let here = Some(r#"<https://l/users?offset=5>; rel="next""#);
    let end = Some(r#"<https://l/users?offset=0>; rel="first""#);
    assert_eq!(next(&headers(None, None), 3, 0, 10), Next::Offset(3), "short, and nothing said");
    assert_eq!(next(&headers(None, None), 0, 30, 10), Next::End);
    assert_eq!(next(&headers(end, Some("99")), 10, 0, 10), Next::End);
    assert_eq!(next(&headers(here, Some("3")), 3, 0, 10), Next::Link("https://l/users?offset=5".into()));
    assert_eq!(next(&headers(here, None), 0, 30, 10), Next::End);
    assert_eq!(next(&headers(None, Some("13")), 3, 10, 10), Next::End);
    assert_eq!(next(&headers(None, Some("14")), 3, 10, 10), Next::Offset(13));
    assert_eq!(next(&headers(None, Some("many")), 3, 10, 10), Next::Offset(13));
    assert_eq!(next(&headers(None, None), 11, 10, 10), Next::Offset(20), "a repeated row skips nobody");
}

#[test]
fn refusals_are_read_by_what_they_are_about() {
    let kind = |about, status| classify(about, status).map(|(kind, _)| kind);
    let instance = About::Instance("list users");
    assert_eq!(kind(instance, 403), Some(ErrorKind::PermissionDenied));
    assert_eq!(kind(instance, 404), Some(ErrorKind::PermissionDenied));
    assert_eq!(kind(About::Read, 403), Some(ErrorKind::Forbidden));
    assert_eq!(kind(About::Read, 404), Some(ErrorKind::NotFound));
    assert_eq!(kind(About::Write, 403), Some(ErrorKind::Forbidden));
    assert_eq!(kind(About::Write, 404), Some(ErrorKind::Forbidden), "Looker hides what is forbidden");
    for about in [instance, About::Read, About::Write] {
        assert_eq!(kind(about, 401), Some(ErrorKind::AuthenticationFailed));
        assert_eq!(kind(about, 429), None);
        assert_eq!(kind(about, 500), None);
    }
    assert!(classify(instance, 403).unwrap().1.contains("Google Cloud core"));
}
