//! Does a closed gate keep writes back?

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use password_reset_operator::provider::ErrorKind;

use crate::stage::{Stage, closed, counted, requirement};
use crate::subject::Subject;
use crate::wire::Kind;

pub async fn a_closed_gate_lets_no_write_out<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let person = stage.somebody().await;
    let error = stage.provider.apply(&requirement(&person), &closed()).await.expect_err("a closed gate");
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Stopped, false));
    assert!(stage.calls().iter().all(|call| call.kind == Kind::Read));
    assert_eq!(stage.subject.requirements().await, BTreeMap::new());
    assert_eq!(stage.truth(&person.id).await, Some(person));
}

pub async fn the_gate_is_asked_once_for_each_write<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let (gate, asked) = counted();
    for (number, person) in stage.people().await.iter().take(3).enumerate() {
        stage.provider.apply(&requirement(person), &gate).await.expect("a write");
        assert_eq!(asked.load(Ordering::SeqCst), number + 1);
    }
    let writes = stage.calls().into_iter().filter(|call| call.kind == Kind::Write).count();
    assert_eq!(writes, 3);
}
