//! When is a token fetched, and what becomes of one that is refused?

use std::collections::BTreeMap;

use password_reset_operator::plan::observed::Listing;
use password_reset_operator::provider::ErrorKind;
use simulators::Trap;

use crate::stage::Stage;
use crate::subject::{Credential, Subject};
use crate::wire::{Answer, Call, Kind};

fn of(kind: Kind, calls: &[Call]) -> usize {
    calls.iter().filter(|call| call.kind == kind).count()
}

pub async fn a_token_is_used_until_a_fresh_one_is_asked_for<S: Subject>() {
    let stage = Stage::<S>::new().await;
    for (fresh, fetched) in [(false, 1), (false, 0), (true, 1), (false, 0)] {
        stage.provider.verify(fresh).await.expect("a tenant");
        assert_eq!(of(Kind::Authentication, &stage.wire.take()), fetched);
    }
}

pub async fn a_refused_credential_is_remembered_until_a_fresh_token_is_asked_for<S: Subject>() {
    let stage = Stage::<S>::with(Credential::Wrong).await;
    for asked in [1, 0, 0] {
        stage.provider.list(&Listing::Tenant, None).await.expect_err("a refusal");
        assert_eq!(stage.wire.take().len(), asked);
    }
    stage.provider.verify(true).await.expect_err("a refusal");
    assert_eq!(of(Kind::Authentication, &stage.wire.take()), 1);
}

pub async fn a_refused_token_is_replaced_and_the_write_takes_effect_once<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    stage.read(&person).await;
    stage.wire.take();
    stage.wire.fail_once(Kind::Write, Answer::json(401, "{}"));
    assert!(stage.require(&person).await.expect("a write").written);
    let calls = stage.wire.take();
    assert_eq!((of(Kind::Write, &calls), of(Kind::Authentication, &calls)), (2, 1), "{calls:?}");
    assert_eq!(stage.subject.requirements().await, BTreeMap::from([(person.id, 1)]));
}

pub async fn a_token_refused_twice_is_not_replaced_again<S: Subject>() {
    let stage = Stage::<S>::new().await;
    stage.wire.fail(Kind::Read, false, Answer::json(401, "{}"));
    let error = stage.provider.list(&Listing::Tenant, None).await.expect_err("a refusal");
    assert_eq!(error.kind, ErrorKind::AuthenticationFailed);
    let calls = stage.wire.take();
    assert_eq!((of(Kind::Read, &calls), of(Kind::Authentication, &calls)), (2, 2), "{calls:?}");
    stage.provider.list(&Listing::Tenant, None).await.expect_err("a refusal");
    assert!(of(Kind::Authentication, &stage.wire.take()) <= 1);
}

pub async fn a_token_answer_that_cannot_be_read_sends_nothing_further<S: Subject>() {
    let stage = Stage::<S>::new().await;
    for body in ["", "{}", "[]", "null", "<html>", r#"{"access_token": 1}"#, r#"{"access_token": "a\nb"}"#] {
        stage.wire.fail(Kind::Authentication, false, Answer::json(200, body));
        let error = stage.another(5).list(&Listing::Tenant, None).await.expect_err(body);
        assert_eq!(error.kind, ErrorKind::ResponseInvalid, "{body:?}: {error}");
    }
    assert_eq!(stage.calls(), []);
}

pub async fn a_token_address_that_redirects_is_refused<S: Subject>() {
    let trap = Trap::start().await.expect("a trap");
    let stage = Stage::<S>::new().await;
    for status in [302, 307] {
        let headers = vec![("location", format!("{}/token", trap.origin()))];
        stage.wire.fail(Kind::Authentication, false, Answer::Whole { status, headers, body: String::new() });
        let error = stage.another(5).list(&Listing::Tenant, None).await.expect_err("a redirect");
        assert_eq!(error.kind, ErrorKind::EndpointRefused);
    }
    assert_eq!(stage.calls(), []);
    assert_eq!(trap.caught(), []);
}
