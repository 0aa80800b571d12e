//! Which tenant is it, and will a requirement bite?

use password_reset_operator::plan::observed::Enforceable;

use crate::stage::Stage;
use crate::subject::Subject;
use crate::wire::Kind;

pub async fn it_names_the_tenant_and_says_whether_a_requirement_bites<S: Subject>() {
    let stage = Stage::<S>::new().await;
    let tenant = stage.provider.verify(true).await.expect("a tenant");
    assert!(!tenant.id.is_empty());
    match &tenant.enforceable {
        Enforceable::Yes => {}
        Enforceable::Unknown(why) => assert!(why.len() > 20, "a sentence: {why:?}"),
        Enforceable::No(why) => panic!("an ordinary tenant enforces it: {why}"),
    }
    if let Some(users) = tenant.users {
        assert_eq!(users, stage.subject.accounts().await.len() as u64);
    }
    if let Some(own) = &tenant.own_account {
        assert_eq!(&stage.provider.read(own).await.expect("the own account").id, own);
    }
    assert_eq!(stage.provider.verify(false).await.expect("the same tenant"), tenant);
}

pub async fn two_tenants_have_two_identities<S: Subject>() {
    let (one, other) = (Stage::<S>::new().await, Stage::<S>::elsewhere().await);
    let one = one.provider.verify(true).await.expect("a tenant").id;
    let other = other.provider.verify(true).await.expect("another tenant").id;
    assert_ne!(one, other);
}

pub async fn it_takes_at_most_six_calls<S: Subject>() {
    let stage = Stage::<S>::new().await;
    stage.provider.verify(true).await.expect("a tenant");
    let calls = stage.wire.take();
    assert!((1..=6).contains(&calls.len()), "{calls:?}");
    assert!(calls.iter().all(|call| call.kind != Kind::Write), "{calls:?}");
}

pub async fn the_clock_is_unknown_before_the_first_answer<S: Subject>() {
    let stage = Stage::<S>::new().await;
    assert_eq!(stage.provider.clock(), None);
    stage.provider.verify(true).await.expect("a tenant");
    assert!(stage.provider.clock().is_some(), "the wire puts a Date on every answer that has none");
}
