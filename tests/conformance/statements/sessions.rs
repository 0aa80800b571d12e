//! Do exactly one person's sessions end?

use password_reset_operator::plan::observed::AccountId;
use password_reset_operator::plan::step::Step;
use password_reset_operator::provider::ErrorKind;

use crate::stage::{Stage, closed, open};
use crate::subject::{Act, Person, Subject};
use crate::wire::Kind;

fn ending(person: &Person) -> Step {
    Step::RevokeSessions(AccountId(person.id.clone()))
}

pub async fn exactly_that_persons_sessions_end<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let people = stage.people().await;
    let (person, other) = (&people[0], &people[1]);
    for person in [person, other] {
        stage.act(person, Act::SignsIn).await;
    }
    let before = stage.subject.accounts().await;
    let kept = stage.subject.sessions(other).await;
    assert!(kept > 0 && stage.subject.sessions(person).await > 0);
    let applied = stage.provider.apply(&ending(person), &open()).await.expect("an end");
    assert!(applied.written);
    assert_eq!(stage.subject.sessions(person).await, 0);
    assert_eq!(stage.subject.sessions(other).await, kept);
    assert_eq!(stage.subject.accounts().await, before, "nothing else changes");
}

pub async fn a_closed_gate_leaves_them_open<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    stage.act(&person, Act::SignsIn).await;
    let before = stage.subject.sessions(&person).await;
    let error = stage.provider.apply(&ending(&person), &closed()).await.expect_err("a closed gate");
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Stopped, false));
    assert!(stage.calls().iter().all(|call| call.kind == Kind::Read));
    assert_eq!(stage.subject.sessions(&person).await, before);
}

pub async fn who_is_gone_is_refused<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    stage.act(&person, Act::Deletes).await;
    let error = stage.provider.apply(&ending(&person), &open()).await.expect_err("nobody is there");
    assert_eq!((error.kind, error.effect_unknown), (S::WRITE_TO_NOBODY, false));
}
