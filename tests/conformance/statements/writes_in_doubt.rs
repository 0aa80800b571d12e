//! Is a write whose answer tells nothing left in doubt, and never sent again?

use password_reset_operator::plan::observed::{AccountId, Mark};

use super::answers::unreadable;
use crate::stage::{PAGE, Stage, open, requirement};
use crate::subject::{Person, Subject};
use crate::wire::{Answer, Kind};

/// Requires a change while writes fail like this. The write is sent once and in doubt, and a read-back tells `mark`.
async fn is_in_doubt<S: Subject>(stage: &Stage<S>, person: &Person, passed_on: bool, answer: Answer, mark: Mark) {
    stage.wire.fail(Kind::Write, passed_on, answer.clone());
    let error = stage.require(person).await.expect_err("no clear answer");
    assert!(error.effect_unknown, "{answer:?}: {error}");
    let writes = stage.calls().into_iter().filter(|call| call.kind == Kind::Write).count();
    assert_eq!(writes, 1, "{answer:?}: sent once");
    let back = stage.another(PAGE).read_back(&AccountId(person.id.clone())).await.expect("a read-back");
    assert_eq!(back.mark, mark, "{answer:?}");
}

pub async fn an_answer_lost_after_the_write_leaves_its_effect_unknown<S: Subject>() {
    let stage = Stage::<S>::new().await;
    is_in_doubt(&stage, &stage.somebody().await, true, Answer::Lost, Mark::Marked).await;
}

pub async fn an_answer_lost_before_the_write_leaves_its_effect_unknown<S: Subject>() {
    let stage = Stage::<S>::new().await;
    is_in_doubt(&stage, &stage.somebody().await, false, Answer::Lost, Mark::Unmarked).await;
}

pub async fn a_server_that_fails_after_the_write_leaves_its_effect_unknown<S: Subject>() {
    let stage = Stage::<S>::new().await;
    for (person, status) in stage.people().await.iter().zip([408, 500, 502, 503, 504]) {
        is_in_doubt(&stage, person, true, Answer::json(status, "{}"), Mark::Marked).await;
    }
}

pub async fn an_unreadable_answer_is_taken_for_neither_done_nor_failed<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let people = stage.people().await;
    for (number, answer) in unreadable().into_iter().enumerate() {
        let person = &people[number % people.len()];
        stage.wire.fail(Kind::Write, true, answer);
        match stage.provider.apply(&requirement(person), &open()).await {
            Ok(applied) => assert_eq!(applied.seen.filter(|_| applied.written), None, "answer {number}"),
            Err(error) => assert!(error.effect_unknown, "answer {number}: {error}"),
        }
    }
}

pub async fn a_success_that_tells_of_somebody_else_is_not_seen<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let [person, other] = &stage.people().await[..2] else { panic!("two people") };
    stage.wire.fail(Kind::Write, true, Answer::Replaced(person.id.clone(), other.id.clone()));
    match stage.require(person).await {
        Ok(applied) => assert_eq!((applied.written, applied.seen), (true, None)),
        Err(error) => assert!(error.effect_unknown, "{error}"),
    }
}
