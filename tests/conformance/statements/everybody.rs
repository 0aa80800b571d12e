//! Where one call requires a change of everybody: does it?

use password_reset_operator::plan::step::Step;
use password_reset_operator::provider::ErrorKind;

use crate::stage::{Stage, closed, open};
use crate::subject::Subject;
use crate::wire::{Answer, Kind};

pub async fn one_call_marks_everybody_who_has_a_password<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let applied = stage.provider.apply(&Step::RequireEverybody, &open()).await.expect("a write");
    assert_eq!((applied.written, applied.seen), (true, None));
    assert_eq!(stage.calls().len(), 1);
    for person in stage.subject.accounts().await {
        assert_eq!(person.marked, person.has_password, "{}", person.id);
    }
}

pub async fn a_closed_gate_lets_it_not_out<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let error = stage.provider.apply(&Step::RequireEverybody, &closed()).await.expect_err("a closed gate");
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Stopped, false));
    assert_eq!(stage.calls(), []);
    assert!(stage.people().await.iter().all(|person| !person.marked));
}

pub async fn an_answer_lost_leaves_its_effect_unknown<S: Subject>() {
    let stage = Stage::<S>::new().await;
    stage.wire.fail(Kind::Write, true, Answer::Lost);
    let error = stage.provider.apply(&Step::RequireEverybody, &open()).await.expect_err("no answer");
    assert!(error.effect_unknown, "{error}");
    assert_eq!(stage.calls().len(), 1, "not repeated");
}
