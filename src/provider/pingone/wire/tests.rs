use super::*;

fn then() -> Timestamp {
    "2026-11-25T09:00:00Z".parse().unwrap()
}

fn row(json: &str) -> Account {
    serde_json::from_str::<User>(json).unwrap().account(then())
}

fn filled(mut account: Account, json: &str) -> Account {
    serde_json::from_str::<Password>(json).unwrap().fill(&mut account, then());
    account
}

fn read(json: &str) -> Account {
    filled(row(r#"{"id": "u1"}"#), json)
}

#[test]
fn a_row_tells_who_and_in_which_state_but_nothing_about_the_password() {
    let account = row(r#"{"id": "u1", "username": "bob", "email": "bob@corp.example", "enabled": true,
        "account": {"canAuthenticate": true, "status": "OK"}, "identityProvider": {"type": "PING_ONE"},
        "lastSignOn": "in a form that is not known", "nickname": {"odd": []}}"#);
    assert_eq!(account.username.as_deref(), Some("bob"));
    assert_eq!(account.emails, ["bob@corp.example"]);
    assert_eq!((account.disabled, account.locked), (Some(false), Some(false)));
    assert_eq!((account.credential, account.mark), (Credential::NotGiven, Mark::NotGiven));
    assert_eq!(account.changed, ChangeTime::NotGiven);
}

#[test]
fn what_a_row_does_not_say_stays_unsaid() {
    for json in [
        r#"{"id": "u1"}"#,
        r#"{"id": "u1", "enabled": null, "account": null, "identityProvider": null, "email": "", "username": ""}"#,
        r#"{"id": "u1", "account": {"status": "ON_HOLIDAY"}, "identityProvider": {}}"#,
    ] {
        assert_eq!(row(json), Account { sort_key: "u1".into(), ..Account::unknown("u1", then()) }, "{json}");
    }
}

#[test]
fn locked_disabled_and_federated_come_from_the_row() {
    assert_eq!(row(r#"{"id": "u1", "account": {"status": "LOCKED"}}"#).locked, Some(true));
    assert_eq!(row(r#"{"id": "u1", "enabled": false}"#).disabled, Some(true));
    let federated = row(r#"{"id": "u1", "identityProvider": {"id": "i1", "type": "SAML"}}"#);
    assert_eq!(federated.credential, Credential::Federated);
    assert_eq!(filled(federated, r#"{"status": "OK"}"#).credential, Credential::Federated);
}

#[test]
fn each_status_means_one_thing() {
    let changed = r#""lastChangedAt": "2026-11-20T22:00:00.000Z""#;
    for (status, credential, mark, locked) in [
        ("OK", Credential::Local, Mark::Unmarked, None),
        ("MUST_CHANGE_PASSWORD", Credential::Local, Mark::Marked, None),
        ("PASSWORD_EXPIRED", Credential::Local, Mark::Marked, None),
        ("PASSWORD_LOCKED_OUT", Credential::Local, Mark::Hidden, Some(true)),
        ("NO_PASSWORD", Credential::NoPassword, Mark::Unmarked, None),
        ("EXTERNAL", Credential::Federated, Mark::Unmarked, None),
    ] {
        let account = read(&format!(r#"{{"status": "{status}", {changed}}}"#));
        assert_eq!((account.credential, account.mark, account.locked), (credential, mark, locked), "{status}");
        assert_eq!(account.changed, ChangeTime::At("2026-11-20T22:00:00Z".parse().unwrap()));
    }
}

#[test]
fn an_unknown_or_missing_status_is_not_guessed_at() {
    for json in [r#"{"status": "ON_FIRE"}"#, r#"{"status": null}"#, "{}", r#"{"status": "ok"}"#] {
        let account = read(json);
        assert_eq!((account.credential, account.mark), (Credential::NotGiven, Mark::NotGiven), "{json}");
    }
    assert!(serde_json::from_str::<Password>(r#"{"status": 1}"#).is_err());
}

#[test]
fn a_missing_change_time_is_absent_and_an_unreadable_one_is_unknown() {
    assert_eq!(read(r#"{"status": "OK"}"#).changed, ChangeTime::Absent);
    assert_eq!(read(r#"{"status": "OK", "lastChangedAt": null}"#).changed, ChangeTime::Absent);
    assert_eq!(read(r#"{"status": "OK", "lastChangedAt": "lately"}"#).changed, ChangeTime::NotGiven);
    let utc = ChangeTime::At("2026-11-25T00:00:00Z".parse().unwrap());
    assert_eq!(read(r#"{"status": "OK", "lastChangedAt": "2026-11-25T00:00:00"}"#).changed, utc, "without a zone");
}

#[test]
fn only_the_mark_on_the_same_user_is_a_read_back() {
    let id = AccountId("u1".into());
    let parse = |json: &str| serde_json::from_str::<Password>(json).unwrap();
    assert!(parse(r#"{"status": "MUST_CHANGE_PASSWORD", "user": {"id": "u1"}}"#).shows_requirement(&id));
    for other in [
        r#"{"status": "NO_PASSWORD", "lastChangedAt": "2026-11-20T22:00:00Z", "user": {"id": "u1"}}"#,
        r#"{"status": "MUST_CHANGE_PASSWORD", "user": {"id": "u2"}}"#,
        r#"{"status": "MUST_CHANGE_PASSWORD"}"#,
        "{}",
    ] {
        assert!(!parse(other).shows_requirement(&id), "{other}");
    }
    assert!(parse(r#"{"user": {"id": "u2"}}"#).is_about_another(&id));
    assert!(!parse("{}").is_about_another(&id));
}

#[test]
fn a_page_without_its_list_is_not_an_empty_page() {
    let rows = |json: &str| serde_json::from_str::<Collection<User>>(json).ok().and_then(|page| page.rows("users"));
    let empty = rows(r#"{"_links": {}, "_embedded": {"users": []}, "count": 0}"#).unwrap();
    assert_eq!((empty.rows.len(), empty.next, empty.total), (0, None, Some(0)));
    let page = rows(
        r#"{"_links": {"next": {"href": "https://a/x"}}, "_embedded": {"users": [{"id": "u1"}]}, "count": -4, "size": 1}"#,
    )
    .unwrap();
    assert_eq!((page.rows.len(), page.next.as_deref(), page.total), (1, Some("https://a/x"), None));
    // As writers of HAL do that leave out what holds nothing.
    for nothing in [
        r#"{"_links": {}, "count": 0, "size": 0}"#,
        r#"{"_links": {}, "_embedded": {}, "count": 0}"#,
        r#"{"count": 0}"#,
        r#"{"_embedded": {"users": []}, "size": 0}"#,
    ] {
        assert_eq!(rows(nothing).unwrap().rows.len(), 0, "{nothing}");
    }
    for bad in [
        "{}",
        r#"{"_links": {}}"#,
        r#"{"_links": {}, "size": 3}"#,
        r#"{"_embedded": {"users": []}}"#,
        r#"{"_links": {}, "_embedded": {}}"#,
        r#"{"_links": {}, "_embedded": {"groups": []}}"#,
        r#"{"_links": {}, "_embedded": {"users": [{}]}}"#,
        r#"{"_links": {}, "_embedded": {"users": null}}"#,
        r#"{"_links": {"next": {}}, "_embedded": {"users": []}}"#,
        "[]",
    ] {
        assert!(rows(bad).is_none(), "{bad}");
    }
}

#[test]
fn a_filter_value_cannot_leave_its_quotes() {
    assert_eq!(
        comparison("username", "eq", r#"a" or username sw "#).as_deref(),
        Some(r#"username eq "a\" or username sw ""#)
    );
    assert_eq!(comparison("username", "eq", r"a\").as_deref(), Some(r#"username eq "a\\""#));
    assert_eq!(comparison("username", "eq", "a\nb"), None);
    assert_eq!(comparison("username", "eq", "a\u{0}"), None);
    assert_eq!(members("g1").as_deref(), Some(r#"memberOfGroups[id eq "g1"]"#));
}

#[test]
fn a_uuid_is_known_by_its_form() {
    assert!(is_uuid("3f0c1f7e-7a52-4c5a-9a36-6d7c7c3b0a11"));
    assert!(is_uuid("3F0C1F7E-7A52-4C5A-9A36-6D7C7C3B0A11"));
    for other in ["", "bob", "3f0c1f7e7a524c5a9a366d7c7c3b0a11", "3f0c1f7e-7a52-4c5a-9a36-6d7c7c3b0a1g"] {
        assert!(!is_uuid(other), "{other}");
    }
}

fn refusal(code: &str, detail: &str) -> Refusal {
    let body = format!(
        r#"{{"id": "x", "code": "{code}", "message": "secret", "details": [{{"code": "{detail}", "message": "secret"}}]}}"#
    );
    Refusal::parse(body.as_bytes())
}

#[test]
fn refusals_are_read_by_their_codes_and_by_what_they_are_about() {
    let tenant = About::Tenant("list users");
    let kind = |refusal: &Refusal, about, status| refusal.classify(about, status).map(|(kind, _)| kind);
    let denied = refusal("ACCESS_FAILED", "INSUFFICIENT_PERMISSIONS");
    for status in [401, 403] {
        assert_eq!(kind(&denied, tenant, status), Some(ErrorKind::PermissionDenied));
        assert_eq!(kind(&denied, About::Member("list groups"), status), Some(ErrorKind::PermissionDenied));
        assert_eq!(kind(&denied, About::User, status), Some(ErrorKind::Forbidden));
        assert!(!denied.refuses_token(status));
    }
    let token = refusal("ACCESS_FAILED", "INVALID_TOKEN");
    assert!(token.refuses_token(401));
    assert!(token.refuses_token(403), "the vendor may change a status and keeps its codes");
    assert_eq!(kind(&token, About::User, 401), Some(ErrorKind::AuthenticationFailed));
    assert!(Refusal::parse(b"<html>").refuses_token(401));

    let licence = refusal("ACCESS_FAILED", "LICENSE_EXCEEDED");
    assert_eq!(kind(&licence, About::User, 403), Some(ErrorKind::PermissionDenied));
    assert_eq!(kind(&licence, About::Sessions, 403), Some(ErrorKind::Unsupported));

    assert_eq!(kind(&refusal("REQUEST_FAILED", "NO_PASSWORD"), About::User, 400), Some(ErrorKind::Rejected));
    assert_eq!(kind(&refusal("REQUEST_FAILED", "ACCOUNT_NOT_USABLE"), About::User, 400), Some(ErrorKind::Rejected));
    // The code tells more than the status.
    assert_eq!(kind(&refusal("REQUEST_FAILED", "NO_PASSWORD"), About::User, 403), Some(ErrorKind::Rejected));
    assert_eq!(kind(&token, About::User, 403), Some(ErrorKind::AuthenticationFailed));
    assert_eq!(kind(&refusal("NOT_FOUND", ""), About::User, 403), Some(ErrorKind::NotFound));
    assert_eq!(kind(&refusal("INVALID_DATA", "INVALID_VALUE"), tenant, 400), Some(ErrorKind::ResponseInvalid));
    assert_eq!(kind(&refusal("NOT_FOUND", ""), About::User, 404), Some(ErrorKind::NotFound));
    assert_eq!(kind(&refusal("NOT_FOUND", ""), About::Member("list groups"), 404), Some(ErrorKind::NotFound));
    assert_eq!(kind(&refusal("NOT_FOUND", ""), tenant, 404), Some(ErrorKind::PermissionDenied));
    assert_eq!(kind(&refusal("INVALID_REQUEST", ""), About::User, 415), Some(ErrorKind::Unsupported));
    assert_eq!(kind(&refusal("", ""), About::User, 409), Some(ErrorKind::Unreachable));
    assert_eq!(kind(&refusal("REQUEST_LIMITED", "LIMIT_EXCEEDED"), tenant, 429), Some(ErrorKind::Throttled));
    assert_eq!(kind(&refusal("REQUEST_LIMITED", "QUOTA_EXCEEDED"), tenant, 400), Some(ErrorKind::Throttled));
    assert_eq!(kind(&refusal("UNEXPECTED_ERROR", ""), About::User, 500), None);
}

#[test]
fn messages_hold_codes_and_never_the_vendors_words() {
    let (_, message) = refusal("REQUEST_FAILED", "NO_PASSWORD").classify(About::User, 400).unwrap();
    assert_eq!(message, "the user has no password (REQUEST_FAILED, NO_PASSWORD, HTTP 400)");
    let (_, message) = refusal("bob@corp.example", "a b").classify(About::User, 400).unwrap();
    assert_eq!(message, "the request is refused for this user");
}

#[test]
fn the_pause_in_the_body_is_read_and_bounded() {
    let read = |value: &str| {
        let body = format!(
            r#"{{"code": "REQUEST_LIMITED", "details": [{{"code": "QUOTA_EXCEEDED", "innerError": {{"retryAfter": {value}}}}}]}}"#
        );
        Refusal::parse(body.as_bytes()).retry_after()
    };
    assert_eq!(read("7"), Some(Duration::from_secs(7)));
    assert_eq!(read("\"7\""), Some(Duration::from_secs(7)));
    assert_eq!(read("6.2"), Some(Duration::from_secs(7)));
    assert_eq!(read("9999999"), Some(Duration::from_secs(60)));
    for odd in ["null", "-1", "\"soon\"", "[]"] {
        assert_eq!(read(odd), None, "{odd}");
    }
}
