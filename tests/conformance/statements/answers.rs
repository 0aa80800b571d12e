//! Is an answer that cannot be believed an error, whatever was asked?

use password_reset_operator::plan::observed::{AccountId, Listing, SetKind, UserKey};
use password_reset_operator::provider::ErrorKind;
use simulators::Trap;

use crate::stage::{PAGE, Stage, open, requirement};
use crate::subject::{GROUP, Subject};
use crate::wire::{Answer, Kind};

/// Successes that no API gives.
pub fn unreadable() -> Vec<Answer> {
    let html = "<!DOCTYPE html><title>Sign in</title><p>Please accept the terms";
    let html =
        Answer::Whole { status: 200, headers: vec![("content-type", "text/html".to_owned())], body: html.into() };
    let deep = "[".repeat(100_000);
    let large = format!("[{}{{}}]", "{},".repeat(2 << 20));
    let bodies =
        ["", " ", "null", "true", "\"text\"", "{", "[{\"id\":", "<html>", "{}", "[1]", "[{}]", "[[]]", &deep, &large];
    let mut answers = vec![Answer::Half, Answer::CutShort, html];
    answers.extend(bodies.map(|body| Answer::json(200, body)));
    answers
}

/// The answer, as far as a failure should show it.
fn short(answer: &Answer) -> String {
    format!("{answer:?}").chars().take(100).collect()
}

pub async fn an_unreadable_answer_is_never_taken_for_an_empty_page<S: Subject>() {
    let stage = Stage::<S>::new().await;
    for answer in unreadable() {
        stage.wire.fail(Kind::Read, true, answer.clone());
        match stage.provider.list(&Listing::Tenant, None).await {
            Ok(page) => panic!("{}: {} rows, next {:?}", short(&answer), page.accounts.len(), page.next),
            Err(error) => assert_eq!(error.kind, ErrorKind::ResponseInvalid, "{}: {error}", short(&answer)),
        }
    }
}

pub async fn an_unreadable_answer_is_never_taken_for_nobody<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    let id = AccountId(person.id.clone());
    for answer in unreadable() {
        stage.wire.fail(Kind::Read, true, answer.clone());
        let provider = &stage.provider;
        let mut errors = vec![
            provider.read(&id).await.err(),
            provider.read_back(&id).await.err(),
            provider.find(&UserKey::Id(person.id.clone())).await.err(),
            provider.find(&UserKey::Email(person.email.clone())).await.err(),
        ];
        if S::CAPABILITIES.groups {
            errors.push(provider.sets(SetKind::Group, GROUP).await.err());
        }
        for (position, error) in errors.into_iter().enumerate() {
            let error = error.unwrap_or_else(|| panic!("call {position} believes {}", short(&answer)));
            assert_eq!(error.kind, ErrorKind::ResponseInvalid, "call {position}, {}: {error}", short(&answer));
        }
    }
}

pub async fn an_answer_about_somebody_else_is_never_believed<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let [person, other] = &stage.people().await[..2] else { panic!("two people") };
    stage.wire.fail(Kind::Read, true, Answer::Replaced(person.id.clone(), other.id.clone()));
    let id = AccountId(person.id.clone());
    let errors = [
        stage.provider.read(&id).await.err(),
        stage.provider.read_back(&id).await.err(),
        stage.provider.find(&UserKey::Id(person.id.clone())).await.err(),
    ];
    for error in errors {
        assert_eq!(error.expect("an error").kind, ErrorKind::ResponseInvalid);
    }
}

pub async fn a_redirect_is_refused_and_nothing_is_sent_there<S: Subject>() {
    let trap = Trap::start().await.expect("a trap");
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    for status in [301, 302, 303, 307, 308] {
        for kind in [Kind::Read, Kind::Write] {
            let headers = vec![("location", format!("{}/users", trap.origin()))];
            stage.wire.fail(kind, false, Answer::Whole { status, headers, body: String::new() });
            let error = match kind {
                Kind::Write => stage.provider.apply(&requirement(&person), &open()).await.err(),
                _ => stage.provider.list(&Listing::Tenant, None).await.err(),
            };
            assert_eq!(error.expect("a redirect").kind, ErrorKind::EndpointRefused, "{status}");
        }
    }
    assert_eq!(trap.caught(), []);
}

pub async fn an_error_shows_nothing_of_an_answer<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    let canary = "quokka@corp.example";
    let body = format!(
        r#"{{"id": "{canary}", "code": "{canary}", "type": "{canary}", "error": "{canary}", "message": "{canary}",
            "errorMessage": "{canary}", "title": "{canary}", "details": [{{"code": "{canary}", "message": "{canary}"}}]}}"#
    );
    for status in [200, 400, 403, 404, 409, 418, 422, 500, 503] {
        for kind in [Kind::Read, Kind::Write] {
            stage.wire.fail(kind, false, Answer::json(status, body.clone()));
            let provider = stage.another(PAGE);
            let error = match kind {
                Kind::Write => provider.apply(&requirement(&person), &open()).await.err(),
                _ => provider.read(&AccountId(person.id.clone())).await.err(),
            };
            let text = format!("{error:?} {}", error.as_ref().map(ToString::to_string).unwrap_or_default());
            for shown in [canary, &person.email, &person.id] {
                assert!(!text.contains(shown), "{kind:?} {status}: {text}");
            }
        }
    }
}
