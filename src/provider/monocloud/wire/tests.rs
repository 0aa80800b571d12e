use super::*;
use crate::provider::ProviderError;

const NOW: i64 = 1_795_598_400;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn user(json: &str) -> User {
    serde_json::from_str(json).unwrap()
}

fn row(json: &str) -> Account {
    user(json).account(Depth::Row, now()).unwrap()
}

/// The vendor's example of the answer to force_reset, shortened: sample data, with the mark `false`.
const SAMPLE: &str = r#"{"creation_time":1640975400,"private_data":{"subscription_plan":"premium"},
    "emails":[{"verified":true,"id":"6cec8047","source":"monocloud","email":"user@example.com","primary":false}],
    "password_updated_at":1640975400,"disabled":true,"has_password":true,"block_until":1640975400,
    "user_id":"UOtBaOybB6dTpIJNrnkRw","force_password_reset":false,
    "external_providers":[{"provider_user_id":"79a500f9","claims":{"email":"user@example.com"},"authenticator":"google"}],
    "username":{"id":"9082b772","source":"monocloud","username":"username"}}"#;

#[test]
fn the_vendors_sample_is_read_as_it_stands_and_never_as_marked() {
    let account = row(SAMPLE);
    assert_eq!(account.id.0, "UOtBaOybB6dTpIJNrnkRw");
    assert_eq!(account.mark, Mark::Unmarked);
    assert_eq!(account.username.as_deref(), Some("username"));
    assert_eq!(account.emails, ["user@example.com"]);
    assert_eq!(account.changed, ChangeTime::At(Timestamp::from_second(1_640_975_400).unwrap()));
    assert_eq!(account.credential, Credential::Local, "a password counts, whatever else the user can sign in with");
    assert_eq!((account.disabled, account.locked), (Some(true), Some(false)), "a block that is over is none");
    assert_eq!(account.sort_key, "00000000001640975400");
}

#[test]
fn private_data_is_never_held() {
    let printed = format!("{:?}", user(SAMPLE));
    assert!(!printed.contains("premium"), "{printed}");
}

#[test]
fn a_user_without_a_password_is_told_from_one_of_another_provider() {
    assert_eq!(row(r#"{"user_id":"u","has_password":false}"#).credential, Credential::NoPassword);
    let google = row(r#"{"user_id":"u","has_password":false,"external_providers":[{"authenticator":"google"}]}"#);
    assert_eq!(google.credential, Credential::Federated);
    assert_eq!(row(r#"{"user_id":"u"}"#).credential, Credential::NotGiven);
}

#[test]
fn what_an_answer_leaves_out_is_not_false() {
    let account = row(r#"{"user_id":"u"}"#);
    assert_eq!((account.mark, account.disabled), (Mark::NotGiven, None));
}

#[test]
fn a_row_without_a_change_time_is_read_once_and_then_has_none() {
    let missing = r#"{"user_id":"u","has_password":true}"#;
    assert_eq!(row(missing).changed, ChangeTime::NotGiven);
    assert_eq!(user(missing).account(Depth::Whole, now()).unwrap().changed, ChangeTime::Absent);
    assert_eq!(row(r#"{"user_id":"u","password_updated_at":null}"#).changed, ChangeTime::Absent);
    assert_eq!(row(r#"{"user_id":"u","password_updated_at":0}"#).changed, ChangeTime::Absent);
}

#[test]
fn a_block_counts_while_the_providers_clock_has_not_reached_its_end() {
    let until = |t: i64| row(&format!(r#"{{"user_id":"u","block_until":{t}}}"#)).locked;
    assert_eq!((until(NOW + 1), until(NOW), until(NOW - 1)), (Some(true), Some(false), Some(false)));
    assert_eq!(row(r#"{"user_id":"u","block_until":null}"#).locked, Some(false));
}

#[test]
fn a_time_outside_all_calendars_is_not_believed_and_costs_no_whole_page() {
    let far = user(&format!(r#"{{"user_id":"u","password_updated_at":{}}}"#, i64::MAX));
    assert!(far.account(Depth::Whole, now()).is_err());
    assert_eq!(far.account(Depth::Row, now()).unwrap().changed, ChangeTime::NotGiven);
}

#[test]
fn null_in_place_of_a_list_is_an_empty_one() {
    let null = row(r#"{"user_id":"u","has_password":false,"emails":null,"external_providers":null}"#);
    assert_eq!((null.emails, null.credential), (vec![], Credential::NoPassword));
}

fn header(json: &str) -> Pagination {
    Pagination::parse(json).unwrap()
}

fn at(page: u64, size: u32) -> PageAt {
    PageAt { page, size, empty: 0 }
}

#[test]
fn a_listing_goes_on_while_the_header_says_so_and_ends_where_it_says_so() {
    let more = header(r#"{"page_size":50,"current_page":1,"total_count":51,"has_previous":false,"has_next":true}"#);
    assert_eq!(at(1, 50).next(50, Some(&more)), Ok(Some(at(2, 50))));
    assert_eq!(at(1, 50).next(3, Some(&more)), Ok(Some(at(2, 50))), "a short page is no end");
    let last = header(r#"{"page_size":50,"current_page":2,"total_count":51,"has_previous":true,"has_next":false}"#);
    assert_eq!(at(2, 50).next(1, Some(&last)), Ok(None));
    assert_eq!(last.total_count, Some(51));
}

#[test]
fn without_the_header_only_an_empty_page_is_the_end() {
    assert_eq!(at(1, 50).next(50, None), Ok(Some(at(2, 50))));
    assert_eq!(at(2, 50).next(1, None), Ok(Some(at(3, 50))));
    assert_eq!(at(3, 50).next(0, None), Ok(None));
    assert_eq!(at(1, 50).next(7, Some(&header("{}"))), Ok(Some(at(2, 50))));
}

#[test]
fn a_server_that_gives_smaller_pages_sets_the_size_from_the_first_page_on() {
    let clamped = header(r#"{"page_size":50,"current_page":1,"has_next":true}"#);
    assert_eq!(at(1, 200).next(50, Some(&clamped)), Ok(Some(at(2, 50))));
    let larger = header(r#"{"page_size":500,"current_page":1,"has_next":true}"#);
    assert_eq!(at(1, 200).next(200, Some(&larger)), Ok(Some(at(2, 200))));
}

#[test]
fn pages_that_do_not_fit_together_are_not_believed() {
    let stuck = header(r#"{"page_size":50,"current_page":1,"has_next":true}"#);
    assert!(at(2, 50).next(50, Some(&stuck)).is_err(), "the same page again");
    let shrunk = header(r#"{"page_size":10,"current_page":2,"has_next":true}"#);
    assert!(at(2, 50).next(10, Some(&shrunk)).is_err(), "positions would shift");
    assert!(Pagination::parse("page=1").is_err());
}

#[test]
fn a_few_empty_pages_are_sat_out_and_an_endless_row_of_them_is_not() {
    let mut position = at(1, 50);
    let mut pages = 0;
    loop {
        let more = Pagination { has_next: Some(true), ..Pagination::default() };
        match position.next(0, Some(&more)) {
            Ok(next) => position = next.expect("more was announced"),
            Err(_) => break,
        }
        pages += 1;
    }
    assert_eq!(pages, 8);
    let more = Pagination { has_next: Some(true), ..Pagination::default() };
    let next = position.next(1, Some(&more)).unwrap().unwrap();
    assert_eq!(next.empty, 0, "a row ends the count");
}

#[test]
fn a_position_survives_being_a_cursor() {
    let position = PageAt { empty: 3, ..at(7, 50) };
    assert_eq!(PageAt::from_cursor(&position.to_cursor()), Some(position));
    assert_eq!(PageAt::from_cursor("https://elsewhere"), None);
    assert_eq!(PageAt::first(0), at(1, 1));
}

#[test]
fn plain_names_and_addresses_are_searched_as_they_are() {
    for plain in ["bob", "alice@corp.example", "a.b+c-d_e@x.example", "o'hara@x.example"] {
        assert_eq!(search_term(plain), plain);
    }
}

#[test]
fn a_name_cannot_turn_into_another_query() {
    assert_eq!(search_term("*"), r"\*");
    assert_eq!(search_term("a OR b"), r"a\ OR\ b");
    assert_eq!(search_term("disabled:true"), r"disabled\:true");
    assert_eq!(search_term("-x"), r"\-x");
    assert_eq!(search_term(r#"a"b\c/d"#), r#"a\"b\\c\/d"#);
}

fn refused(about: About, status: u16, body: &str) -> ProviderError {
    let (kind, message) = refusal(about, status, body.as_bytes()).unwrap();
    ProviderError::new(kind, "test", message)
}

#[test]
fn the_three_shapes_of_a_refused_write_are_told_apart_by_their_type() {
    let identity = refused(
        About::Account,
        422,
        r#"{"type":"https://httpstatuses.io/422#identity-validation-error","status":422,"title":"t","traceId":"x",
            "errors":[{"code":"UserHasNoPassword","description":"Alice has no password"}]}"#,
    );
    assert_eq!(identity.kind, ErrorKind::Rejected);
    assert!(
        identity.message.contains("identity rules") && identity.message.contains("(UserHasNoPassword)"),
        "{identity}"
    );
    let validation = refused(
        About::Account,
        422,
        r#"{"type":"https://httpstatuses.io/422#validation-error","errors":{"user_id":["Alice is wrong"]}}"#,
    );
    assert!(validation.message.contains("invalid") && validation.message.contains("(user_id)"), "{validation}");
    let other = refused(About::Account, 422, r#"{"type":"https://httpstatuses.io/422","detail":"Alice"}"#);
    assert!(other.message.contains("refuses this"), "{other}");
    for error in [identity, validation, other] {
        assert_eq!(error.kind, ErrorKind::Rejected);
        assert!(!error.message.contains("Alice"), "{error}");
    }
}

#[test]
fn a_refusal_that_is_no_problem_document_is_still_a_refusal() {
    for body in ["", "<html>", "[]", r#"{"errors":7}"#, r#"{"type":5}"#, r#"{"errors":[{"code":"Alice <a@x>"}]}"#] {
        let error = refused(About::Account, 422, body);
        assert_eq!(error.kind, ErrorKind::Rejected, "{body}");
        assert!(!error.message.contains("Alice"), "{error}");
    }
}

#[test]
fn a_plan_without_sessions_stops_revoking_only() {
    assert_eq!(refused(About::Sessions, 402, "").kind, ErrorKind::Unsupported);
    assert_eq!(refused(About::Tenant, 402, "").kind, ErrorKind::PermissionDenied);
    assert_eq!(refused(About::Account, 402, "").kind, ErrorKind::PermissionDenied);
}

#[test]
fn a_refused_key_is_told_from_a_refused_user() {
    assert_eq!(refused(About::Account, 401, "").kind, ErrorKind::AuthenticationFailed);
    assert_eq!(refused(About::Account, 403, "").kind, ErrorKind::Forbidden);
    assert_eq!(refused(About::Tenant, 403, "").kind, ErrorKind::PermissionDenied);
}

#[test]
fn a_missing_user_is_told_from_a_wrong_address() {
    assert_eq!(refused(About::Account, 404, "").kind, ErrorKind::NotFound);
    assert_eq!(refused(About::Group, 404, "").kind, ErrorKind::NotFound);
    let wrong = refused(About::Tenant, 404, "");
    assert_eq!(wrong.kind, ErrorKind::ResponseInvalid);
    assert!(wrong.message.contains("baseURL"), "{wrong}");
}

#[test]
fn a_page_size_that_the_server_refuses_says_which_setting_to_lower() {
    let error = refused(
        About::Tenant,
        422,
        r#"{"type":"https://httpstatuses.io/422#validation-error","errors":{"size":["must be at most 50"]}}"#,
    );
    assert!(error.message.contains("(size)") && error.message.contains("pageSize"), "{error}");
}

#[test]
fn pressure_and_outages_are_left_to_the_shared_rules() {
    for status in [429, 500, 502, 503] {
        assert_eq!(refusal(About::Account, status, b""), None);
    }
}
